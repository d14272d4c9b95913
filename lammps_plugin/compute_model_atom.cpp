#include "compute_model_atom.h"

#include "group_atoms.h"
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
#include <group.h>
#include <memory.h>
#include <modify.h>
#include <neighbor.h>
#include <pair.h>
#include <update.h>

using namespace LAMMPS_NS;

/* ---------------------------------------------------------------------- */

ComputeModelAtom::ComputeModelAtom(LAMMPS *lmp, int narg, char **arg, const std::string &kind,
                                   const std::string &quantity) :
    Compute(lmp, narg, arg),
    name(std::string("Compute ") + style), quantity(quantity)
{
  if (domain->box_exist == 0)
    error->all(FLERR, "{}: write it after the box and the atom types are defined (read_data, create_box)", name);
  if (strcmp(update->unit_style, "metal") != 0 && strcmp(update->unit_style, "real") != 0)
    error->all(FLERR, "{}: units {} are not supported, use metal or real (lengths in angstrom)", name,
               update->unit_style);
  efgmd::ModelOptions options = efgmd::take_options(lmp, name, narg, arg);
  if (narg < 5)
    error->all(
        FLERR,
        "Illegal compute {0} command, expected: compute ID GROUP {0} MODEL followed by one element name per atom "
        "type",
        style);

  peratom_flag = 1;
  dynamic_group_allow = 1;

  if (kind != "efg" && (options.uncertainty || options.members))
    error->all(FLERR, "{}: uncertainty and members are options of compute efg/atom", name);
  model = efgmd::open_model(lmp, name, kind, arg[3], options);
  size_peratom_cols = model->columns > 1 ? model->columns : 0;
  element = efgmd::match_elements(lmp, name, arg[3], model->elements, narg - 4, arg + 4);
  search = std::make_unique<efgmd::NeighbourSearch>(*std::min_element(model->centres.begin(), model->centres.end()));
  comm_forward = std::max(1, model->message_width);
}

/* ---------------------------------------------------------------------- */

ComputeModelAtom::~ComputeModelAtom()
{
  memory->destroy(values);
}

/* ----------------------------------------------------------------------
   Between two rebuilds of the ghost atoms, two atoms can approach each other
   by the skin: the ghost region must reach that much further than the model.
------------------------------------------------------------------------- */

void ComputeModelAtom::init()
{
  if (comm->mode != Comm::SINGLE)
    error->all(FLERR, "{}: one ghost cutoff for all atoms is needed, write comm_modify mode single", name);
  double ghosts = comm->cutghostuser;
  if (force->pair) ghosts = std::max(ghosts, force->pair->cutforce + neighbor->skin);
  double needed = model->cutoff + neighbor->skin;
  if (ghosts < needed * (1.0 - 1e-12))
    error->all(FLERR,
               "{}: the model's cutoff {:.6g} plus the skin {:.6g} exceeds the ghost region {:.6g}: write comm_modify "
               "cutoff {:.6g}",
               name, model->cutoff, neighbor->skin, ghosts, std::ceil(1000.0 * needed) / 1000.0);
  refuse_unknown();
}

/* ----------------------------------------------------------------------
   Zeros for what the model was never taught would be taken for tensors.
------------------------------------------------------------------------- */

void ComputeModelAtom::refuse_unknown()
{
  for (int e = 0; e < static_cast<int>(model->elements.size()); e++)
    if (is_unknown(e) && efgmd::any_in_group(lmp, groupbit, [&](int i) { return element[atom->type[i]] == e; }))
      error->all(FLERR, "{}: {}", name, unknown_element(e));
}

bool ComputeModelAtom::is_unknown(int e) const
{
  return std::find(model->without.begin(), model->without.end(), model->elements[e]) != model->without.end();
}

std::string ComputeModelAtom::unknown_element(int e) const
{
  return "the model knows no tensors of " + model->elements[e] + ": write a group without such atoms in place of " +
         group->names[igroup];
}

/* ---------------------------------------------------------------------- */

void ComputeModelAtom::compute_peratom()
{
  if (!is_initialized() || neighbor->lastcall < 0)
    error->all(FLERR, "{}: ghost atoms exist only in a run, write run 0 first", name);
  invoked_peratom = update->ntimestep;

  if (atom->nmax > nmax) {
    memory->destroy(values);
    nmax = atom->nmax;
    memory->create(values, nmax, model->columns, "model/atom:values");
    if (size_peratom_cols)
      array_atom = values;
    else
      vector_atom = values[0];
  }

  refuse_stale();

  // Some fixes move owned atoms at the end of a step; their ghosts have to follow.
  comm->forward_comm();

  efgmd::Failure failure;
  failure.message = find_pairs();
  if (model->message_width) {
    sent.resize((pairs.ncentres() + atom->nghost) * model->message_width);
    if (!failure && pairs.ncentres() > 0) failure = model->messages_of(pairs, sent.data());
    efgmd::raise_together(lmp, name, failure, true);
    comm->forward_comm(this);
  }
  if (!failure && wanted > 0) failure = model->of_atoms(pairs, wanted, rows, sent, results);
  if (!failure) failure.message = store();
  efgmd::raise_together(lmp, name, failure, true);
}

/* ----------------------------------------------------------------------
   What is exchanged between atoms and ghosts was set up by a run, for the
   atoms that it had. With more or fewer of them the position of a ghost would
   be put on an owned atom.
------------------------------------------------------------------------- */

void ComputeModelAtom::refuse_stale()
{
  efgmd::Failure failure;
  probing = true;
  stale = false;
  comm->forward_comm(this);
  probing = false;
  if (stale) failure.message = "atoms were added or removed since the last run, write run 0 first";
  efgmd::raise_together(lmp, name, failure, true);
}

/* ---------------------------------------------------------------------- */

std::string ComputeModelAtom::find_pairs()
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
    if ((atom->mask[i] & groupbit) && elements[i] >= 0) search->add_neighbours(i, pairs, model->centres[elements[i]]);
  wanted = pairs.ncentres();
  if (model->message_width) add_senders();
  return "";
}

/* ----------------------------------------------------------------------
   Atoms outside of the group may be neighbours of those within, here or on
   another rank: they become centres too.
------------------------------------------------------------------------- */

void ComputeModelAtom::add_senders()
{
  const std::size_t count = pairs.npairs();
  centre_of.assign(atom->nlocal, -1);
  for (std::size_t k = 0; k < wanted; k++) centre_of[pairs.centre[k]] = static_cast<std::int64_t>(k);
  for (int i = 0; i < atom->nlocal; i++) {
    if (elements[i] < 0 || centre_of[i] >= 0) continue;
    centre_of[i] = static_cast<std::int64_t>(pairs.ncentres());
    search->add_neighbours(i, pairs, model->messages);
  }
  rows.resize(count);
  for (std::size_t p = 0; p < count; p++) rows[p] = row_of(pairs.neighbour[p]);
}

// The row of `sent` that an atom has, -1 if it has none.
std::int64_t ComputeModelAtom::row_of(int i) const
{
  return i < atom->nlocal ? centre_of[i] : static_cast<std::int64_t>(pairs.ncentres()) + i - atom->nlocal;
}

/* ---------------------------------------------------------------------- */

int ComputeModelAtom::pack_forward_comm(int n, int *list, double *buffer, int /*pbc_flag*/, int * /*pbc*/)
{
  if (probing) {
    for (int k = 0; k < n; k++) stale = stale || list[k] >= atom->nlocal + atom->nghost;
    std::fill_n(buffer, n, 0.0);
    return n;
  }
  const int width = model->message_width;
  for (int k = 0; k < n; k++) {
    const std::int64_t row = row_of(list[k]);
    if (row >= 0)
      std::copy_n(&sent[row * width], width, buffer + k * width);
    else
      std::fill_n(buffer + k * width, width, 0.0);    // an atom that the model does not see
  }
  return n * width;
}

void ComputeModelAtom::unpack_forward_comm(int n, int first, double *buffer)
{
  const int width = model->message_width;
  if (n == 0) return;
  if (probing)
    stale = stale || first < atom->nlocal || first + n > atom->nlocal + atom->nghost;
  else
    std::copy_n(buffer, static_cast<std::size_t>(n) * width, &sent[row_of(first) * width]);
}

/* ---------------------------------------------------------------------- */

std::string ComputeModelAtom::store()
{
  const int columns = model->columns;
  for (int i = 0; i < atom->nlocal; i++) std::fill_n(values[i], columns, 0.0);
  for (std::size_t k = 0; k < wanted; k++) {
    const int i = pairs.centre[k];
    for (int c = 0; c < columns; c++) {
      values[i][c] = results[columns * k + c];
      if (!std::isfinite(values[i][c]) && is_unknown(elements[i])) return unknown_element(elements[i]);
      if (!std::isfinite(values[i][c]))
        return efgmd::not_finite(lmp, quantity, {i}, "far from what the model was trained on");
    }
  }
  return "";
}

/* ---------------------------------------------------------------------- */

double ComputeModelAtom::memory_usage()
{
  return sizeof(double) * (1.0 * model->columns * nmax + results.capacity() + sent.capacity()) + pairs.bytes() +
         search->bytes() + sizeof(int) * elements.capacity() +
         sizeof(std::int64_t) * (rows.capacity() + centre_of.capacity());
}
