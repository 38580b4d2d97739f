# Every C++ target of the project shares one precompiled cmake/precompiled.h.
if(NOT GAPFERRY_PRECOMPILE)
  return()
endif()

# g++ takes a precompiled header under the same definitions only: those of the libraries in it.
target_compile_definitions(project_flags INTERFACE FMT_SHARED GTEST_HAS_PTHREAD=1)

file(WRITE ${PROJECT_BINARY_DIR}/precompiled.cc "")
add_library(precompiled OBJECT ${PROJECT_BINARY_DIR}/precompiled.cc)
target_link_libraries(precompiled PRIVATE fmt::fmt nlohmann_json::nlohmann_json
                                          project_flags)
target_precompile_headers(precompiled PRIVATE ${PROJECT_SOURCE_DIR}/cmake/precompiled.h)

# The time in it would make each build another one to ccache.
target_compile_options(precompiled PRIVATE $<$<CXX_COMPILER_ID:Clang>:SHELL:-Xclang -fno-pch-timestamp>)

function(precompile_targets directory)
  get_directory_property(targets DIRECTORY ${directory} BUILDSYSTEM_TARGETS)
  foreach(target ${targets})
    get_target_property(type ${target} TYPE)
    get_target_property(sources ${target} SOURCES)
    if(type MATCHES "LIBRARY|EXECUTABLE" AND sources MATCHES "[.]cc" AND NOT target STREQUAL precompiled)
      target_precompile_headers(${target} REUSE_FROM precompiled)
    endif()
  endforeach()
  get_directory_property(folders DIRECTORY ${directory} SUBDIRECTORIES)
  foreach(folder ${folders})
    precompile_targets(${folder})
  endforeach()
endfunction()
precompile_targets(${PROJECT_SOURCE_DIR})
