# Foreign libraries as imported targets (SYSTEM includes, so our warnings do not apply to them).
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

pkg_check_modules(GLIB REQUIRED IMPORTED_TARGET glib-2.0>=2.74)
pkg_check_modules(GMIME REQUIRED IMPORTED_TARGET gmime-3.0)
pkg_check_modules(LMDB REQUIRED IMPORTED_TARGET lmdb)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
pkg_check_modules(SSL REQUIRED IMPORTED_TARGET libssl)
pkg_check_modules(CRYPT REQUIRED IMPORTED_TARGET libcrypt)
pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv)
pkg_check_modules(GSASL REQUIRED IMPORTED_TARGET libgsasl>=2.2)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)

# Debian's CRoaring has no pkg-config file.
find_library(ROARING_LIBRARY roaring REQUIRED)
find_path(ROARING_INCLUDE roaring/roaring.h REQUIRED)
add_library(mds_roaring UNKNOWN IMPORTED)
set_target_properties(mds_roaring PROPERTIES
  IMPORTED_LOCATION "${ROARING_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${ROARING_INCLUDE}")

# Short names for the rooms' lists.
add_library(lib::glib ALIAS PkgConfig::GLIB)
add_library(lib::gmime ALIAS PkgConfig::GMIME)
add_library(lib::lmdb ALIAS PkgConfig::LMDB)
add_library(lib::xxhash ALIAS PkgConfig::XXHASH)
add_library(lib::zstd ALIAS PkgConfig::ZSTD)
add_library(lib::crypto ALIAS PkgConfig::CRYPTO)
add_library(lib::ssl ALIAS PkgConfig::SSL)
add_library(lib::crypt ALIAS PkgConfig::CRYPT)
add_library(lib::uv ALIAS PkgConfig::UV)
add_library(lib::gsasl ALIAS PkgConfig::GSASL)
add_library(lib::zlib ALIAS PkgConfig::ZLIB)
add_library(lib::jansson ALIAS PkgConfig::JANSSON)
add_library(lib::roaring ALIAS mds_roaring)
add_library(lib::threads ALIAS Threads::Threads)
