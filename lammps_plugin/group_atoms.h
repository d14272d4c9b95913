// Whether any rank has atoms of a group that answer a question.

#ifndef EFGMD_GROUP_ATOMS_H
#define EFGMD_GROUP_ATOMS_H

#include <atom.h>
#include <lammps.h>
#include <mpi.h>

namespace efgmd {

// All ranks ask together. `wanted` takes the index of an owned atom.
template <class Wanted> bool any_in_group(LAMMPS_NS::LAMMPS *lmp, int groupbit, Wanted wanted)
{
  int found = 0, anywhere = 0;
  for (int i = 0; i < lmp->atom->nlocal && !found; i++) found = (lmp->atom->mask[i] & groupbit) && wanted(i);
  MPI_Allreduce(&found, &anywhere, 1, MPI_INT, MPI_MAX, lmp->world);
  return anywhere != 0;
}

}    // namespace efgmd

#endif
