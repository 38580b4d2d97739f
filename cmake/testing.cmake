# add_project_test(name LINK libraries...): one unit-test program tests/unit/<folder>/<name>.cc of
# the calling folder. It is one test for ctest, so that what a suite sets up is set up once; the
# cases are in build/<preset>/reports/<name>.xml.
function(add_project_test name)
  cmake_parse_arguments(ARG "" "" "LINK;SOURCES" ${ARGN})
  if(NOT GAPFERRY_TESTS)
    return()
  endif()
  get_filename_component(folder ${CMAKE_CURRENT_SOURCE_DIR} NAME)
  add_executable(${name} ${PROJECT_SOURCE_DIR}/tests/unit/${folder}/${name}.cc ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} GTest::gtest GTest::gmock GTest::gtest_main project_flags)
  target_compile_definitions(${name} PRIVATE
    GAPFERRY_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  add_test(NAME ${name}
           COMMAND ${name} --gtest_brief=1 --gtest_output=xml:${CMAKE_BINARY_DIR}/reports/${name}.xml)
  set_tests_properties(${name} PROPERTIES LABELS unit)
endfunction()

# add_fuzz_target(name LINK libraries...): tests/fuzz/<name>.cc with LLVMFuzzerTestOneInput. With
# libFuzzer it is a fuzzer; always, it replays tests/fuzz/seeds/<name>/* as an ordinary test.
function(add_fuzz_target name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  if(NOT GAPFERRY_TESTS)
    return()
  endif()
  add_executable(${name} ${PROJECT_SOURCE_DIR}/tests/fuzz/${name}.cc)
  target_link_libraries(${name} PRIVATE ${ARG_LINK} project_flags)
  if(GAPFERRY_LIBFUZZER)
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cc)
    add_test(NAME fuzz_seeds.${name}
             COMMAND ${name} ${PROJECT_SOURCE_DIR}/tests/fuzz/seeds/${name})
    set_tests_properties(fuzz_seeds.${name} PROPERTIES LABELS fuzz)
  endif()
endfunction()
