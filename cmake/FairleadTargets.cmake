# SPDX-License-Identifier: Apache-2.0
# How every target of the project is made: one function each for a floor's library, a program and a test.
include_guard()
include(GNUInstallDirs)

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

find_program(FAIRLEAD_CCACHE ccache)
if(FAIRLEAD_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${FAIRLEAD_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${FAIRLEAD_CCACHE})
endif()
find_program(FAIRLEAD_MOLD mold)
if(FAIRLEAD_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# Warnings for our own code only; generated code does not link this.
add_library(fairlead_warnings INTERFACE)
target_compile_options(fairlead_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wold-style-cast -Wnon-virtual-dtor -Woverloaded-virtual
  -Wcast-qual -Wformat=2 -Wundef
  -Wno-missing-field-initializers)  # designated initialisers leave the rest at its default on purpose
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(fairlead_warnings INTERFACE -Wthread-safety)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(fairlead_warnings INTERFACE -Wno-maybe-uninitialized)  # g++ 12 sees ghosts in std::expected and std::string at -O2
endif()
if(FAIRLEAD_WERROR)
  target_compile_options(fairlead_warnings INTERFACE -Werror)
endif()

add_compile_options(-ffunction-sections -fdata-sections)
add_link_options(-Wl,--gc-sections)
if(FAIRLEAD_SANITIZE)
  add_compile_options(-fsanitize=${FAIRLEAD_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${FAIRLEAD_SANITIZE})
  if(FAIRLEAD_SANITIZE MATCHES "undefined")
    add_compile_definitions(FAIRLEAD_UBSAN) # GCC has no macro for it
  endif()
endif()
if(FAIRLEAD_COVERAGE)
  add_compile_options(--coverage -fprofile-update=atomic)
  add_link_options(--coverage)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-D_FORTIFY_SOURCE=3 -D_GLIBCXX_ASSERTIONS -fstack-protector-strong)
  add_link_options(-Wl,-z,relro -Wl,-z,now)
endif()

# fairlead_library(dra SOURCES a.cc ... PUBLIC fairlead::core ... PRIVATE CURL::libcurl ... HEADERS driver.h ...)
# makes fairlead_dra with the alias fairlead::dra. HEADERS are those that are installed.
function(fairlead_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;PUBLIC;PRIVATE;HEADERS" ${ARGN})
  set(target fairlead_${name})
  add_library(${target} STATIC ${arg_SOURCES})
  add_library(fairlead::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name} OUTPUT_NAME fairlead_${name})
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_compile_features(${target} PUBLIC cxx_std_23)
  target_link_libraries(${target} PUBLIC ${arg_PUBLIC} PRIVATE ${arg_PRIVATE} $<BUILD_INTERFACE:fairlead_warnings>)
  set_property(GLOBAL APPEND PROPERTY FAIRLEAD_LIBRARIES ${target})
  foreach(header IN LISTS arg_HEADERS)
    set_property(GLOBAL APPEND PROPERTY FAIRLEAD_PUBLIC_HEADERS ${CMAKE_CURRENT_SOURCE_DIR}/${header})
  endforeach()
endfunction()

# fairlead_program(drydock SOURCES main.cc DEPS ...)
function(fairlead_program name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${arg_DEPS} fairlead_warnings)
endfunction()

# fairlead_test(core_result SOURCES result_test.cc DEPS fairlead::core LABEL unit)
# One gtest program; every case is a ctest case with the label (unit, kernel, node). GTEST_SKIP counts as a skip.
function(fairlead_test name)
  if(NOT FAIRLEAD_TESTS)
    return()
  endif()
  cmake_parse_arguments(arg "" "LABEL;TIMEOUT" "SOURCES;DEPS;PROPERTIES" ${ARGN})
  if(NOT arg_LABEL)
    set(arg_LABEL unit)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  add_executable(${name}_test ${arg_SOURCES})
  target_include_directories(${name}_test PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name}_test PRIVATE ${arg_DEPS} GTest::gmock GTest::gtest_main fairlead_warnings)
  if(arg_LABEL STREQUAL "kernel") # these also run in the guest of ./check --vm
    add_dependencies(kernel_tests ${name}_test)
    set_property(GLOBAL APPEND PROPERTY FAIRLEAD_KERNEL_TESTS ${name}_test)
  endif()
  if(FAIRLEAD_SANITIZE)
    target_compile_options(${name}_test PRIVATE -O0)  # the tests' own code: compiles in about 60 % of the time
  endif()
  gtest_discover_tests(${name}_test DISCOVERY_TIMEOUT 60
    PROPERTIES LABELS ${arg_LABEL} TIMEOUT ${arg_TIMEOUT} SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]" ${arg_PROPERTIES})
endfunction()
include(GoogleTest)
add_custom_target(kernel_tests)
