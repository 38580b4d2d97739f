# Flags ride on interface targets; nothing touches CMAKE_CXX_FLAGS.
option(GAPFERRY_WERROR "Treat warnings as errors" OFF)
option(GAPFERRY_TESTS "Build the tests" ON)
option(GAPFERRY_LIBFUZZER "Build the fuzz targets with libFuzzer (clang only)" OFF)
option(GAPFERRY_PRECOMPILE "Precompile common headers: faster when everything is built" OFF)
option(GAPFERRY_UNITY "Compile sources in groups: faster when everything is built" OFF)
set(GAPFERRY_SANITIZE "" CACHE STRING "Sanitizers for -fsanitize=, such as address,undefined")

add_library(warn_interface INTERFACE)
target_compile_options(warn_interface INTERFACE
  -Wall -Wextra -Wconversion -Wshadow
  -Werror=unused-result -Werror=switch -Werror=return-type -Werror=suggest-override
  $<$<BOOL:${GAPFERRY_WERROR}>:-Werror>)

add_library(sanitize_interface INTERFACE)
if(GAPFERRY_SANITIZE)
  target_compile_options(sanitize_interface INTERFACE
    -fsanitize=${GAPFERRY_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer
    # g++ 12 warns of flows that exist only in instrumented code; the other presets keep these on.
    $<$<CXX_COMPILER_ID:GNU>:-Wno-stringop-overflow -Wno-maybe-uninitialized -Wno-array-bounds>)
  target_link_options(sanitize_interface INTERFACE -fsanitize=${GAPFERRY_SANITIZE})
endif()

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # CMake's own choice links one part after the other.
  set(CMAKE_CXX_COMPILE_OPTIONS_IPO -flto=auto -fno-fat-lto-objects)
endif()

add_library(harden_interface INTERFACE)
target_compile_options(harden_interface INTERFACE
  $<$<CONFIG:Release>:-fstack-protector-strong -fcf-protection -D_FORTIFY_SOURCE=2>)
target_link_options(harden_interface INTERFACE
  $<$<CONFIG:Release>:-Wl,-z,relro,-z,now,-z,noexecstack>)

add_library(project_flags INTERFACE)
target_compile_features(project_flags INTERFACE cxx_std_23)
target_include_directories(project_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_link_libraries(project_flags INTERFACE warn_interface sanitize_interface harden_interface)
