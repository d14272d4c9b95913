// pair_style nep: the class NEP3 of NEP_CPU (sources in calorine's source package on PyPI) as a LAMMPS plugin, for
// timing. Energy, forces, global virial; forces on ghosts are sent back, so newton_pair has to be on (the default).

#include "../lammps_plugin/lammps_plugin_api.h"
#include "atom.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "nep.h"
#include "pair.h"

#include <algorithm>
#include <vector>

using namespace LAMMPS_NS;

namespace {

class PairNEP : public Pair {
 public:
  explicit PairNEP(LAMMPS *lmp) : Pair(lmp)
  {
    single_enable = restartinfo = 0;
    one_coeff = manybody_flag = 1;
  }

  ~PairNEP() override
  {
    if (!allocated) return;
    memory->destroy(setflag);
    memory->destroy(cutsq);
  }

  void settings(int narg, char **arg) override
  {
    if (narg != 1) error->all(FLERR, "pair_style nep needs one file");
    nep.init_from_file(arg[0], false);
    cutoff = std::max(nep.paramb.rc_radial, nep.paramb.rc_angular);
  }

  void coeff(int narg, char **arg) override
  {
    int types = atom->ntypes;
    if (narg != types + 2) error->all(FLERR, "pair_coeff * * needs one element per type");
    memory->create(setflag, types + 1, types + 1, "pair:setflag");
    memory->create(cutsq, types + 1, types + 1, "pair:cutsq");
    for (int i = 1; i <= types; i++)
      for (int j = 1; j <= types; j++) setflag[i][j] = 1;
    allocated = 1;
    elements.assign(types + 1, -1);    // in: place in the list of names; out: element of the model
    for (int i = 1; i <= types; i++) elements[i] = i - 1;
    nep.update_type_map(types, elements.data(), arg + 2);
  }

  void init_style() override
  {
    if (!force->newton_pair) error->all(FLERR, "pair_style nep needs newton_pair on");
    neighbor->add_request(this, NeighConst::REQ_FULL);
  }

  double init_one(int, int) override { return cutoff; }

  void compute(int eflag, int vflag) override
  {
    ev_init(eflag, vflag);
    double energy = 0.0, total[6] = {0.0};
    nep.compute_for_lammps(atom->nlocal, list->inum, list->ilist, list->numneigh, list->firstneigh, atom->type,
                           elements.data(), atom->x, energy, total, eflag_atom ? eatom : nullptr, atom->f, nullptr);
    if (eflag_global) eng_vdwl += energy;
    if (vflag_global)
      for (int k = 0; k < 6; k++) virial[k] += total[k];
  }

 private:
  NEP3 nep;
  double cutoff = 0.0;
  std::vector<int> elements;
};

void *create(void *lmp)
{
  return static_cast<Pair *>(new PairNEP(static_cast<LAMMPS *>(lmp)));
}

}    // namespace

extern "C" void lammpsplugin_init(void *lmp, void *handle, void *register_style)
{
  static lammpsplugin_t plugin{
      static_cast<LAMMPS *>(lmp)->version, "pair", "nep", "NEP_CPU", "efgmd benchmarks", {&create}, handle};
  reinterpret_cast<lammpsplugin_regfunc *>(register_style)(&plugin, lmp);
}
