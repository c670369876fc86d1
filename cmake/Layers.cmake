# How every target of the tree is compiled, and the one way to declare a layer.
# A layer is a folder with its own static library; all its .c files belong to it (but main.c).
# Includes start at the top of the tree ("proto/frame.h"), so an include line shows the layer it reaches into;
# tests/gates/layers checks the direction.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

add_library(tb_flags INTERFACE)
target_compile_definitions(tb_flags INTERFACE _GNU_SOURCE TCPBROKER_VERSION="${PROJECT_VERSION}")
target_compile_options(tb_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
                       -Wstrict-prototypes -Wmissing-prototypes -fstack-protector-strong -fvisibility=hidden)
if(TCPBROKER_WERROR)
  target_compile_options(tb_flags INTERFACE -Werror)
endif()
target_include_directories(tb_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/daemon)
if(TCPBROKER_SANITIZE)
  target_compile_options(tb_flags INTERFACE -fsanitize=${TCPBROKER_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=undefined)
  target_link_options(tb_flags INTERFACE -fsanitize=${TCPBROKER_SANITIZE})
else()
  target_compile_options(tb_flags INTERFACE $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=2>)
  target_link_options(tb_flags INTERFACE -Wl,-z,relro,-z,now)
endif()
if(TCPBROKER_FUZZ)
  target_compile_options(tb_flags INTERFACE -fsanitize=fuzzer-no-link,address,undefined)
  target_link_options(tb_flags INTERFACE -fsanitize=address,undefined)
endif()

# tb_layer(NAME FOLDER LIBRARY...): the static library of one folder
function(tb_layer name folder)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.c)
  list(FILTER sources EXCLUDE REGEX "/main\\.c$")
  if(NOT sources)
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE tb_flags ${ARGN})
    return()
  endif()
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC tb_flags ${ARGN})
endfunction()
