#include "hidden_pairs.h"

#include "group_atoms.h"

#include <atom.h>
#include <error.h>
#include <force.h>
#include <group.h>
#include <lammps.h>
#include <neighbor.h>

using namespace LAMMPS_NS;

namespace {

// The lists decide, which delete_bonds leaves unless it is told to remake them.
bool has_special_lists(LAMMPS *lmp)
{
  Atom *atom = lmp->atom;
  if (atom->nbonds > 0 || atom->molecular == Atom::TEMPLATE) return true;
  return efgmd::any_in_group(lmp, lmp->group->bitmask[0],
                             [atom](int i) { return atom->nspecial && atom->nspecial[i][2] > 0; });
}

}    // namespace

void efgmd::refuse_hidden_pairs(LAMMPS *lmp, const std::string &name, const std::vector<int> &element)
{
  const double *special = lmp->force->special_lj;
  if ((special[1] == 0.0 || special[2] == 0.0 || special[3] == 0.0) && has_special_lists(lmp))
    lmp->error->all(FLERR, "{} would miss bonded neighbours: write special_bonds lj/coul 1 1 1", name);

  const Neighbor *neighbor = lmp->neighbor;
  const auto seen_in = [&](int group) {
    return any_in_group(lmp, lmp->group->bitmask[group], [&](int i) { return element[lmp->atom->type[i]] >= 0; });
  };
  bool hidden = false;
  for (int k = 0; k < neighbor->nex_type; k++)
    hidden |= element[neighbor->ex1_type[k]] >= 0 && element[neighbor->ex2_type[k]] >= 0;
  for (int k = 0; k < neighbor->nex_group; k++)
    hidden |= seen_in(neighbor->ex1_group[k]) && seen_in(neighbor->ex2_group[k]);
  for (int k = 0; k < neighbor->nex_mol; k++) hidden |= seen_in(neighbor->ex_mol_group[k]);
  if (hidden)
    lmp->error->all(
        FLERR, "{} would miss neighbours that neigh_modify exclude leaves out: write neigh_modify exclude none", name);
}
