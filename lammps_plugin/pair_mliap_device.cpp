// Models that live on a device (GPU): they keep the list of pairs, which changes only when LAMMPS makes a new one, and
// are given the positions of a step.

#include "instability.h"
#include "pair_mliap_python.h"

#include <atom.h>
#include <cmath>
#include <neigh_list.h>
#include <neighbor.h>

using namespace LAMMPS_NS;

/* ----------------------------------------------------------------------
   The list as LAMMPS has it, with the pairs in the skin.
------------------------------------------------------------------------- */

efgmd::Failure PairMLIAPPython::pack_list()
{
  const int *type = atom->type;
  row_elements.resize(atom->nlocal + atom->nghost);
  for (std::size_t i = 0; i < row_elements.size(); i++) row_elements[i] = element[type[i]];
  pairs.clear();
  list_neighbours.clear();
  for (int ii = 0; ii < list->inum; ii++) {
    const int i = list->ilist[ii];
    if (row_elements[i] < 0) continue;
    pairs.begin_centre(i, row_elements[i], 0);
    const int *jlist = list->firstneigh[i];
    for (int jj = 0; jj < list->numneigh[i]; jj++) {
      const int j = jlist[jj] & NEIGHMASK;
      if (row_elements[j] >= 0) list_neighbours.push_back(j);
    }
    pairs.first.push_back(static_cast<std::int64_t>(list_neighbours.size()));
  }
  return model->take_list(pairs, list_neighbours, row_elements);
}

/* ---------------------------------------------------------------------- */

efgmd::Failure PairMLIAPPython::evaluate_on_device()
{
  efgmd::Failure failure;
  const int natoms = atom->nlocal + atom->nghost;
  for (int i = 0; i < natoms; i++)
    if (!std::isfinite(atom->x[i][0] + atom->x[i][1] + atom->x[i][2])) {
      failure.message = efgmd::not_finite(lmp, "position", {i}, "the run is unstable");
      return failure;
    }
  for (int i = 0; i < natoms && listed && neighbor->ago; i++) listed = element[atom->type[i]] == row_elements[i];
  if (neighbor->ago == 0 || !listed) {
    failure = pack_list();
    listed = !failure;
  }
  if (failure || pairs.ncentres() == 0) return failure;

  failure = model->evaluate(&atom->x[0][0], natoms, vflag_atom, cvflag_atom, on_device);
  if (failure) return failure;
  std::vector<int> bad;
  for (int i = 0; i < natoms; i++)
    if (!std::isfinite(on_device.forces[3 * i] + on_device.forces[3 * i + 1] + on_device.forces[3 * i + 2]))
      bad.push_back(i);
  for (std::size_t k = 0; k < pairs.ncentres() && bad.empty(); k++)
    if (!std::isfinite(on_device.energies[k])) bad.push_back(pairs.centre[k]);
  if (!bad.empty()) failure.message = tell_not_finite(bad);
  return failure;
}

/* ---------------------------------------------------------------------- */

void PairMLIAPPython::add_from_device()
{
  if (pairs.ncentres() == 0) return;
  const int natoms = atom->nlocal + atom->nghost;
  for (std::size_t k = 0; k < pairs.ncentres(); k++) {
    if (eflag_global) eng_vdwl += energy_unit * on_device.energies[k];
    if (eflag_atom) eatom[pairs.centre[k]] += energy_unit * on_device.energies[k];
  }
  if (vflag_global)
    for (int c = 0; c < 6; c++) virial[c] += energy_unit * on_device.virial[c];
  for (int i = 0; i < natoms; i++) {
    for (int d = 0; d < 3; d++) atom->f[i][d] += energy_unit * on_device.forces[3 * i + d];
    for (int c = 0; c < 6 && vflag_atom; c++) vatom[i][c] += energy_unit * on_device.shared[6 * i + c];
    for (int c = 0; c < 9 && cvflag_atom; c++) cvatom[i][c] += energy_unit * on_device.centroid[9 * i + c];
  }
}
