# Compiles the sources of a target in groups, which reads their headers once for all: for builds
# that are made from nothing (scripts/test). Groups are such that no source sees another's names.
if(NOT GAPFERRY_UNITY)
  return()
endif()

# g++ warns of anonymous namespaces in what it takes for a header.
target_compile_options(warn_interface INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)

function(group_sources target)
  get_target_property(sources ${target} SOURCES)
  get_target_property(directory ${target} SOURCE_DIR)
  set(files "")
  foreach(source ${sources})
    cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY ${directory} NORMALIZE)
    if(source MATCHES "[.]cc$" AND EXISTS ${source})  # those that the build makes stay alone
      list(APPEND files ${source})
    endif()
  endforeach()
  list(LENGTH files count)
  if(count LESS 2)
    return()
  endif()
  execute_process(COMMAND /usr/bin/python3 ${PROJECT_SOURCE_DIR}/cmake/unity_groups.py 16 ${files}
                  OUTPUT_VARIABLE groups OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  string(REPLACE "\n" ";" groups "${groups}")
  foreach(line ${groups})
    string(REGEX MATCH "^([^ ]+) (.+)$" line "${line}")
    set_source_files_properties(${CMAKE_MATCH_2} TARGET_DIRECTORY ${target}
                                PROPERTIES UNITY_GROUP ${target}_${CMAKE_MATCH_1})
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
endfunction()

function(group_targets directory)
  get_directory_property(targets DIRECTORY ${directory} BUILDSYSTEM_TARGETS)
  foreach(target ${targets})
    get_target_property(type ${target} TYPE)
    if(type MATCHES "STATIC_LIBRARY|EXECUTABLE")
      group_sources(${target})
    endif()
  endforeach()
  get_directory_property(folders DIRECTORY ${directory} SUBDIRECTORIES)
  foreach(folder ${folders})
    group_targets(${folder})
  endforeach()
endfunction()
group_targets(${PROJECT_SOURCE_DIR})
