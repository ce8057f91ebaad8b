# Flags of every target, carried by the interface target mds_flags.
add_library(mds_flags INTERFACE)
target_compile_definitions(mds_flags INTERFACE _GNU_SOURCE _FILE_OFFSET_BITS=64)
target_compile_options(mds_flags INTERFACE
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wwrite-strings
  -Wvla -Wformat=2 -Wundef -Wold-style-definition -Wimplicit-fallthrough
  -fno-omit-frame-pointer -fstack-protector-strong)
if(CMAKE_C_COMPILER_ID MATCHES "Clang")
  # GLib's macros (g_utf8_next_char) cast const away in our files; gcc knows that they come from a system header.
  target_compile_options(mds_flags INTERFACE -Wno-cast-qual)
endif()
if(MDS_WERROR)
  target_compile_options(mds_flags INTERFACE -Werror)
endif()

if(MDS_SANITIZE)
  target_compile_options(mds_flags INTERFACE -fsanitize=${MDS_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(mds_flags INTERFACE -fsanitize=${MDS_SANITIZE} -fno-sanitize-recover=all)
endif()
if(MDS_SANITIZE MATCHES "address")
  # base/arena makes each allocation separate under this; other rooms may add costly invariants.
  target_compile_definitions(mds_flags INTERFACE MDS_CHECKED=1)
endif()
if(MDS_SANITIZE MATCHES "thread")
  set(MDS_TSAN ON)
endif()

if(MDS_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "MDS_FUZZ needs clang (use the preset fuzz)")
  endif()
  target_compile_options(mds_flags INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(mds_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

if(MDS_COVERAGE)
  target_compile_options(mds_flags INTERFACE --coverage)
  target_link_options(mds_flags INTERFACE --coverage)
endif()

if(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_definitions(mds_flags INTERFACE _FORTIFY_SOURCE=2)
endif()

if(MDS_LTO)
  include(CheckIPOSupported)
  check_ipo_supported(LANGUAGES C)
  set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
endif()
