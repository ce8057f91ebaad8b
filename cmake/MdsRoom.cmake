# mds_room(NAME <room>
#          [TARGET <name>]            target, default mds_<room>
#          [SOURCES_FROM <glob>...]   default *.c and */*.c of the room
#          [EXCLUDE <file>...]        sources that belong to another target
#          [DEPENDS <room>...]        rooms its public headers may include
#          [PRIVATE_DEPENDS <room>...] rooms only its .c files may include
#          [PUBLIC_LIBS ...] [PRIVATE_LIBS ...])   foreign libraries, lib::<name>
#
# One static library a room. It sees its own include/ and directory, and the include/ of the rooms it names: an include
# against the arrows does not compile. A room without sources becomes an INTERFACE library, so that the rest configures.
function(mds_room)
  cmake_parse_arguments(R "" "NAME;TARGET" "SOURCES_FROM;EXCLUDE;DEPENDS;PRIVATE_DEPENDS;PUBLIC_LIBS;PRIVATE_LIBS" ${ARGN})
  if(NOT R_TARGET)
    set(R_TARGET mds_${R_NAME})
  endif()
  set(dir "${CMAKE_SOURCE_DIR}/${R_NAME}")
  if(NOT R_SOURCES_FROM)
    set(R_SOURCES_FROM *.c */*.c)
  endif()
  list(TRANSFORM R_SOURCES_FROM PREPEND "${dir}/")
  list(TRANSFORM R_EXCLUDE PREPEND "${dir}/")
  file(GLOB sources CONFIGURE_DEPENDS ${R_SOURCES_FROM})
  if(R_EXCLUDE AND sources)
    list(REMOVE_ITEM sources ${R_EXCLUDE})
  endif()
  list(TRANSFORM R_DEPENDS PREPEND mds_)
  list(TRANSFORM R_PRIVATE_DEPENDS PREPEND mds_)

  set_property(GLOBAL APPEND PROPERTY MDS_ALL_ROOMS ${R_TARGET})
  if(NOT sources)
    set_property(GLOBAL APPEND PROPERTY MDS_EMPTY_ROOMS ${R_TARGET})
    add_library(${R_TARGET} INTERFACE)
    target_include_directories(${R_TARGET} INTERFACE "${dir}/include")
    target_link_libraries(${R_TARGET} INTERFACE ${R_DEPENDS} ${R_PUBLIC_LIBS})
    return()
  endif()
  add_library(${R_TARGET} STATIC ${sources})
  target_include_directories(${R_TARGET} PUBLIC "${dir}/include" PRIVATE "${dir}")
  target_link_libraries(${R_TARGET}
    PUBLIC ${R_DEPENDS} ${R_PUBLIC_LIBS}
    PRIVATE mds_flags ${R_PRIVATE_DEPENDS} ${R_PRIVATE_LIBS})
endfunction()

# True in <var> when every named target has sources.
function(mds_rooms_present var)
  get_property(empty GLOBAL PROPERTY MDS_EMPTY_ROOMS)
  set(${var} TRUE PARENT_SCOPE)
  foreach(target ${ARGN})
    if(target IN_LIST empty)
      set(${var} FALSE PARENT_SCOPE)
    endif()
  endforeach()
endfunction()
