#include "compute_efg_atom.h"

#include "instability.h"
#include "neighbour_search.h"
#include "python_runtime.h"

#include <algorithm>
#include <atom.h>
#include <cmath>
#include <comm.h>
#include <cstring>
#include <domain.h>
#include <error.h>
#include <force.h>
#include <memory.h>
#include <modify.h>
#include <neighbor.h>
#include <pair.h>
#include <update.h>

using namespace LAMMPS_NS;

static const char STYLE[] = "Compute efg/atom";

/* ---------------------------------------------------------------------- */

ComputeEFGAtom::ComputeEFGAtom(LAMMPS *lmp, int narg, char **arg) : Compute(lmp, narg, arg)
{
  if (domain->box_exist == 0)
    error->all(FLERR, "{}: write it after the box and the atom types are defined (read_data, create_box)", STYLE);
  if (strcmp(update->unit_style, "metal") != 0 && strcmp(update->unit_style, "real") != 0)
    error->all(FLERR, "{}: units {} are not supported, use metal or real (lengths in angstrom)", STYLE,
               update->unit_style);
  efgmd::ModelOptions options = efgmd::take_options(lmp, STYLE, narg, arg);
  if (narg < 5)
    error->all(FLERR, "Illegal compute efg/atom command, expected: compute ID GROUP efg/atom MODEL followed by one "
                      "element name per atom type");

  peratom_flag = 1;
  dynamic_group_allow = 1;

  model = efgmd::open_model(lmp, STYLE, "efg", arg[3], options);
  size_peratom_cols = model->columns;
  element = efgmd::match_elements(lmp, STYLE, arg[3], model->elements, narg - 4, arg + 4);
  search = std::make_unique<efgmd::NeighbourSearch>(model->cutoff);
}

/* ---------------------------------------------------------------------- */

ComputeEFGAtom::~ComputeEFGAtom()
{
  memory->destroy(efg);
}

/* ----------------------------------------------------------------------
   Between two rebuilds of the ghost atoms, two atoms can approach each other
   by the skin: the ghost region must reach that much further than the model.
------------------------------------------------------------------------- */

void ComputeEFGAtom::init()
{
  if (comm->mode != Comm::SINGLE)
    error->all(FLERR, "{}: one ghost cutoff for all atoms is needed, write comm_modify mode single", STYLE);
  double ghosts = comm->cutghostuser;
  if (force->pair) ghosts = std::max(ghosts, force->pair->cutforce + neighbor->skin);
  double needed = model->cutoff + neighbor->skin;
  if (ghosts < needed * (1.0 - 1e-12))
    error->all(FLERR,
               "{}: the model's cutoff {:.6g} plus the skin {:.6g} exceeds the ghost region {:.6g}: write comm_modify "
               "cutoff {:.6g}",
               STYLE, model->cutoff, neighbor->skin, ghosts, std::ceil(1000.0 * needed) / 1000.0);
}

/* ---------------------------------------------------------------------- */

void ComputeEFGAtom::compute_peratom()
{
  if (neighbor->lastcall < 0) error->all(FLERR, "{}: ghost atoms exist only in a run, write run 0 first", STYLE);
  invoked_peratom = update->ntimestep;

  if (atom->nmax > nmax) {
    memory->destroy(efg);
    nmax = atom->nmax;
    memory->create(efg, nmax, size_peratom_cols, "efg/atom:efg");
    array_atom = efg;
  }

  // Some fixes move owned atoms at the end of a step; their ghosts have to follow.
  comm->forward_comm();

  efgmd::Failure failure;
  failure.message = find_pairs();
  if (!failure && pairs.ncentres() > 0) failure = model->efg(pairs, tensors);
  if (!failure) failure.message = store();
  efgmd::raise_together(lmp, STYLE, failure, true);
}

/* ---------------------------------------------------------------------- */

std::string ComputeEFGAtom::find_pairs()
{
  double **x = atom->x;
  const int ntotal = atom->nlocal + atom->nghost;
  elements.resize(ntotal);
  for (int i = 0; i < ntotal; i++) {
    elements[i] = element[atom->type[i]];
    if (!std::isfinite(x[i][0] + x[i][1] + x[i][2]))
      return efgmd::not_finite(lmp, "position", {i}, "the run is unstable");
  }

  pairs.clear();
  search->sort(ntotal, x, elements);
  for (int i = 0; i < atom->nlocal; i++)
    if ((atom->mask[i] & groupbit) && elements[i] >= 0) search->add_neighbours(i, pairs);
  return "";
}

/* ---------------------------------------------------------------------- */

std::string ComputeEFGAtom::store()
{
  for (int i = 0; i < atom->nlocal; i++) std::fill_n(efg[i], size_peratom_cols, 0.0);
  for (std::size_t k = 0; k < pairs.ncentres(); k++) {
    const int i = pairs.centre[k];
    for (int c = 0; c < size_peratom_cols; c++) {
      efg[i][c] = tensors[size_peratom_cols * k + c];
      if (!std::isfinite(efg[i][c]))
        return efgmd::not_finite(lmp, "electric field gradient", {i}, "far from what the model was trained on");
    }
  }
  return "";
}

/* ---------------------------------------------------------------------- */

double ComputeEFGAtom::memory_usage()
{
  return sizeof(double) * (1.0 * size_peratom_cols * nmax + tensors.capacity()) + pairs.bytes() + search->bytes() +
         sizeof(int) * elements.capacity();
}
