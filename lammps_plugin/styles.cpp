// Registers the styles of efgmd with LAMMPS.

#include "compute_model_atom.h"
#include "lammps_plugin_api.h"
#include "pair_mliap_python.h"

#include <dlfcn.h>
#include <force.h>
#include <lammps.h>

using namespace LAMMPS_NS;

namespace {

Force::PairCreator builtin_mliap = nullptr;

Pair *create_pair(LAMMPS *lmp)
{
  return new PairMLIAPPython(lmp);
}

Pair *create_builtin_mliap(LAMMPS *lmp)
{
  return builtin_mliap(lmp);
}

Compute *create_efg(LAMMPS *lmp, int narg, char **arg)
{
  return new ComputeModelAtom(lmp, narg, arg, "efg", "electric field gradient");
}

Compute *create_extrapolation(LAMMPS *lmp, int narg, char **arg)
{
  return new ComputeModelAtom(lmp, narg, arg, "extrapolation", "grade of extrapolation");
}

// Some builds of LAMMPS have Python in their own ML-IAP; its class for that exists only there.
bool host_has_python_mliap()
{
  return dlsym(RTLD_DEFAULT, "_ZTIN9LAMMPS_NS16MLIAPModelPythonE") != nullptr;
}

}    // namespace

extern "C" __attribute__((visibility("default"))) void efgmd_add_styles(void *host, void *handle,
                                                                        lammpsplugin_regfunc *register_style)
{
  auto *lmp = static_cast<LAMMPS *>(host);
  lammpsplugin_t plugin;
  plugin.version = lmp->version;
  plugin.author = "the efgmd developers";
  plugin.handle = handle;

  auto add_pair = [&](const char *name, const char *info, Force::PairCreator creator) {
    plugin.style = "pair";
    plugin.name = name;
    plugin.info = info;
    plugin.creator.v1 = reinterpret_cast<lammpsplugin_factory1 *>(creator);
    register_style(&plugin, lmp);
  };

  // A working `mliap` is left alone; models of efgmd run in it from the file that `efgmd export mliap` writes.
  if (!host_has_python_mliap()) {
    // Taken out of the table first: LAMMPS would warn about the override in every run, wanted or not.
    auto &styles = *lmp->force->pair_map;
    auto found = styles.find("mliap");
    if (found != styles.end() && found->second != &create_pair) {
      builtin_mliap = found->second;
      styles.erase(found);
    }
    add_pair("mliap", "pair mliap: Python models (efgmd)", &create_pair);
    if (builtin_mliap) add_pair("mliap/builtin", "pair mliap/builtin: LAMMPS' own pair mliap", &create_builtin_mliap);
  }

  auto add_compute = [&](const char *name, const char *info, Compute *(*creator)(LAMMPS *, int, char **) ) {
    plugin.style = "compute";
    plugin.name = name;
    plugin.info = info;
    plugin.creator.v2 = reinterpret_cast<lammpsplugin_factory2 *>(creator);
    register_style(&plugin, lmp);
  };

  add_compute("efg/atom", "compute efg/atom: electric field gradients (efgmd)", &create_efg);
  add_compute("extrapolation/atom", "compute extrapolation/atom: distance from a model's training data (efgmd)",
              &create_extrapolation);
}
