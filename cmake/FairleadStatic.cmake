# SPDX-License-Identifier: Apache-2.0
# FAIRLEAD_STATIC: third-party libraries are linked from Debian's archives instead of its shared objects, so that a process maps the
# few functions it uses and not thirty libraries (22 -> 12 MiB resident; docs/adr/0005). Rewires the imported targets that
# FairleadDependencies.cmake found. Needs mold, which does not mind the order of archives.
include_guard()

function(fairlead_archive out name)
  find_library(fairlead_archive_${name} NAMES lib${name}.a REQUIRED NO_CACHE)
  set(${out} ${fairlead_archive_${name}} PARENT_SCOPE)
endfunction()

function(fairlead_archives out)
  set(found)
  foreach(name IN LISTS ARGN)
    fairlead_archive(path ${name})
    list(APPEND found ${path})
  endforeach()
  set(${out} ${found} PARENT_SCOPE)
endfunction()

# gRPC without its TLS (all our sockets are local), and Abseil as pkg-config lists it.
set(absl)
foreach(library IN LISTS GRPCPP_STATIC_LIBRARIES)
  if(library MATCHES "^absl_")
    list(APPEND absl ${library})
  endif()
endforeach()
list(REMOVE_DUPLICATES absl)
fairlead_archives(grpc_archives grpc++_unsecure grpc_unsecure gpr address_sorting upb re2 cares z ${absl})
set_target_properties(PkgConfig::GRPCPP PROPERTIES INTERFACE_LINK_LIBRARIES "${grpc_archives};Threads::Threads")
set_target_properties(PkgConfig::GRPCPP PROPERTIES INTERFACE_LINK_OPTIONS "")

fairlead_archive(protobuf_archive protobuf-lite)
foreach(property IMPORTED_LOCATION IMPORTED_LOCATION_RELEASE)
  set_target_properties(protobuf::libprotobuf-lite PROPERTIES ${property} ${protobuf_archive})
endforeach()

# libcurl speaks only HTTPS and HTTP here (kube/http.cc says so to curl). Debian's archive also refers to LDAP, RTMP and Kerberos,
# whose libraries pull in twenty more: those functions cannot be reached and are bound to abort().
fairlead_archives(curl_archives nghttp2 idn2 ssh2 psl ssl crypto zstd brotlidec brotlicommon unistring z)
fairlead_archive(curl_archive curl)
set(unreachable
  ber_bvfree ber_free ber_memfree ber_memvfree ber_sockbuf_add_io
  GSS_C_NT_HOSTBASED_SERVICE gss_delete_sec_context gss_display_name gss_display_status gss_import_name gss_init_sec_context
  gss_inquire_context gss_release_buffer gss_release_name gss_unwrap gss_wrap
  ldap_abandon_ext ldap_err2string ldap_free_urldesc ldap_get_attribute_ber ldap_get_dn_ber ldap_get_option ldap_init_fd
  ldap_memfree ldap_msgfree ldap_msgtype ldap_parse_result ldap_parse_sasl_bind_result ldap_pvt_url_scheme2proto ldap_result
  ldap_sasl_bind ldap_search_ext ldap_set_option ldap_start_tls ldap_unbind_ext ldap_url_parse
  RTMP_Alloc RTMP_Close RTMP_Connect1 RTMP_ConnectStream RTMP_Free RTMP_Init RTMP_Read RTMP_SetBufferMS RTMP_SetupURL RTMP_Write)
list(TRANSFORM unreachable REPLACE "(.+)" "-Wl,--defsym=\\1=abort")
set_target_properties(CURL::libcurl PROPERTIES IMPORTED_LOCATION ${curl_archive} IMPORTED_LOCATION_RELEASE ${curl_archive}
  INTERFACE_LINK_LIBRARIES "${curl_archives}" INTERFACE_LINK_OPTIONS "${unreachable}")

foreach(name Crypto SSL)
  string(TOLOWER ${name} library)
  fairlead_archive(archive ${library})
  foreach(property IMPORTED_LOCATION IMPORTED_LOCATION_RELEASE)
    set_target_properties(OpenSSL::${name} PROPERTIES ${property} ${archive})
  endforeach()
endforeach()
