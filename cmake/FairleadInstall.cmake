# SPDX-License-Identifier: Apache-2.0
# The installed package: find_package(fairlead) gives fairlead::dra and what it stands on, for drivers of other people.
include_guard()
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/fairlead)

get_property(libraries GLOBAL PROPERTY FAIRLEAD_LIBRARIES)
foreach(name core sys kube proto rpc formats dra)
  if(NOT fairlead_${name} IN_LIST libraries)
    message(FATAL_ERROR "fairlead_${name} is part of the installed package but no such library was made")
  endif()
  list(APPEND packaged fairlead_${name})
endforeach()
install(TARGETS ${packaged} EXPORT fairlead ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT fairlead NAMESPACE fairlead:: FILE fairlead-targets.cmake DESTINATION ${package_dir})

get_property(headers GLOBAL PROPERTY FAIRLEAD_PUBLIC_HEADERS)
foreach(header IN LISTS headers)
  file(RELATIVE_PATH relative ${PROJECT_SOURCE_DIR}/src ${header})
  cmake_path(GET relative PARENT_PATH folder)
  install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/${folder})
endforeach()

configure_package_config_file(cmake/fairlead-config.cmake.in ${PROJECT_BINARY_DIR}/fairlead-config.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/fairlead-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/fairlead-config.cmake ${PROJECT_BINARY_DIR}/fairlead-config-version.cmake
              cmake/FairleadDependencies.cmake DESTINATION ${package_dir})
install(TARGETS fairlead fairlead-guard drydock RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
