#include "pair_mliap_python.h"

#include "ghost_exchange.h"
#include "instability.h"
#include "python_runtime.h"

#include <atom.h>
#include <cmath>
#include <comm.h>
#include <cstring>
#include <error.h>
#include <force.h>
#include <memory.h>
#include <neigh_list.h>
#include <neighbor.h>
#include <update.h>

using namespace LAMMPS_NS;

static const char STYLE[] = "Pair style mliap unified";

/* ---------------------------------------------------------------------- */

PairMLIAPPython::PairMLIAPPython(LAMMPS *lmp) : Pair(lmp), exchange(new efgmd::GhostExchange(lmp, this))
{
  single_enable = 0;
  restartinfo = 0;
  one_coeff = 1;
  manybody_flag = 1;
  no_virial_fdotr_compute = 1;
  centroidstressflag = CENTROID_AVAIL;
}

/* ---------------------------------------------------------------------- */

PairMLIAPPython::~PairMLIAPPython()
{
  if (copymode) return;
  if (allocated) {
    memory->destroy(setflag);
    memory->destroy(cutsq);
  }
}

/* ---------------------------------------------------------------------- */

void PairMLIAPPython::allocate()
{
  allocated = 1;
  int n = atom->ntypes + 1;
  memory->create(setflag, n, n, "pair:setflag");
  memory->create(cutsq, n, n, "pair:cutsq");
  for (int i = 1; i < n; i++)
    for (int j = 1; j < n; j++) setflag[i][j] = 0;
}

/* ---------------------------------------------------------------------- */

void PairMLIAPPython::settings(int narg, char **arg)
{
  if (narg == 0 || strcmp(arg[0], "unified") != 0)
    error->all(FLERR, "Pair style mliap from efgmd runs Python models: pair_style mliap unified MODEL 0; LAMMPS' own "
                      "pair style is available as mliap/builtin, with the same arguments");
  efgmd::ModelOptions options = efgmd::take_options(lmp, STYLE, narg, arg);
  if (narg < 2 || narg > 3 || options.uncertainty || options.members)
    error->all(FLERR, "Illegal pair_style command, expected: pair_style mliap unified MODEL 0 [dtype float32|float64] "
                      "[device cpu|cuda]");
  if (narg == 3 && strcmp(arg[2], "0") != 0)
    error->all(FLERR, "{}: ghost neighbour lists are not available, write 0 after {} instead of {}", STYLE, arg[1],
               arg[2]);

  if (strcmp(update->unit_style, "metal") == 0)
    energy_unit = 1.0;
  else if (strcmp(update->unit_style, "real") == 0)
    energy_unit = utils::get_conversion_factor(utils::ENERGY, utils::METAL2REAL);
  else
    error->all(FLERR, "{}: units {} are not supported, use metal (or real)", STYLE, update->unit_style);

  path = arg[1];
  model.reset();
  model = efgmd::open_model(lmp, STYLE, "energy", path, options);
  listed = false;
  comm_forward = comm_reverse = model->third_party ? efgmd::GhostExchange::WIDTH : 0;

  // The same style given again keeps this object: the elements of the model before must not stay in force.
  if (allocated)
    for (int i = 1; i <= atom->ntypes; i++)
      for (int j = i; j <= atom->ntypes; j++) setflag[i][j] = 0;
}

/* ---------------------------------------------------------------------- */

void PairMLIAPPython::coeff(int narg, char **arg)
{
  if (narg < 3 || strcmp(arg[0], "*") != 0 || strcmp(arg[1], "*") != 0)
    error->all(FLERR, "{}: expected pair_coeff * * followed by one element name per atom type", STYLE);
  if (!allocated) allocate();
  element = efgmd::match_elements(lmp, STYLE, path, model->elements, narg - 2, arg + 2);
  for (int i = 1; i <= atom->ntypes; i++)
    for (int j = i; j <= atom->ntypes; j++) setflag[i][j] = element[i] >= 0 && element[j] >= 0;
}

/* ---------------------------------------------------------------------- */

void PairMLIAPPython::init_style()
{
  if (force->newton_pair == 0) error->all(FLERR, "{} needs newton pair on: write newton on", STYLE);
  if (atom->tag_enable == 0) error->all(FLERR, "{} needs atom IDs: write atom_modify id yes", STYLE);
  if (atom->nbonds > 0)
    for (int k = 1; k <= 3; k++)
      if (force->special_lj[k] == 0.0)
        error->all(FLERR, "{} would miss bonded neighbours: write special_bonds lj/coul 1 1 1", STYLE);
  neighbor->add_request(this, NeighConst::REQ_FULL);
}

/* ---------------------------------------------------------------------- */

double PairMLIAPPython::init_one(int i, int j)
{
  if (setflag[i][j] == 0) error->all(FLERR, "{}: no element for type {} or {}", STYLE, i, j);
  return model->cutoff;
}

/* ----------------------------------------------------------------------
   Energies belong to owned atoms and depend on their neighbours only. A rank
   without atoms calls no model. All ranks meet in raise_together(): a failure
   on one of them ends the run on all, and none is left waiting.
------------------------------------------------------------------------- */

void PairMLIAPPython::compute(int eflag, int vflag)
{
  ev_init(eflag, vflag);

  efgmd::Failure failure;
  if (model->on_device) {
    failure = evaluate_on_device();
    efgmd::raise_together(lmp, STYLE, failure, true);
    add_from_device();
    return;
  }
  failure.message = pack();
  if (model->third_party) {
    number_rows();
    exchange->begin(row_of, pairs.npairs() > 0);
  }
  double total = 0.0;
  if (!failure && pairs.ncentres() > 0) failure = evaluate(eflag, vflag, total);
  if (model->third_party) exchange->finish(failure);
  efgmd::raise_together(lmp, STYLE, failure, true);

  if (pairs.ncentres() > 0) scatter(total);
}

/* ---------------------------------------------------------------------- */

efgmd::Failure PairMLIAPPython::evaluate(int eflag, int vflag, double &total)
{
  efgmd::MliapExtras extras;
  const bool hidden = row_elements.size() < row_of.size();
  if (model->third_party) {
    extras.ntotal = static_cast<int>(row_elements.size());
    for (int i = 0; i < atom->nlocal; i++) extras.nlocal += row_of[i] >= 0;
    extras.elements = row_elements.data();
    extras.centres = hidden ? row_centres.data() : pairs.centre.data();
    extras.neighbours = hidden ? row_neighbours.data() : pairs.neighbour.data();
    row_forces.assign(hidden ? 3 * row_elements.size() : 0, 0.0);
    extras.forces = hidden ? row_forces.data() : &atom->f[0][0];
    extras.eflag = eflag;
    extras.vflag = vflag;
    extras.exchange = exchange.get();
  }
  efgmd::Failure failure = model->energies(pairs, extras, energies, pair_forces, total);
  if (!failure) failure.message = check_finite(total);
  if (!failure && model->third_party && hidden)
    for (std::size_t i = 0; i < row_of.size(); i++)
      for (int d = 0; d < 3 && row_of[i] >= 0; d++) atom->f[i][d] += row_forces[3 * row_of[i] + d];
  return failure;
}

/* ---------------------------------------------------------------------- */

void PairMLIAPPython::number_rows()
{
  const int ntotal = atom->nlocal + atom->nghost;
  row_of.resize(ntotal);
  row_elements.clear();
  for (int i = 0; i < ntotal; i++) {
    const int kind = element[atom->type[i]];
    row_of[i] = kind < 0 ? -1 : static_cast<int>(row_elements.size());
    if (kind >= 0) row_elements.push_back(kind);
  }
  row_centres.clear();
  row_neighbours.clear();
  if (row_elements.size() == row_of.size()) return;
  for (int i : pairs.centre) row_centres.push_back(row_of[i]);
  for (int j : pairs.neighbour) row_neighbours.push_back(row_of[j]);
}

/* ----------------------------------------------------------------------
   Fills the pairs within the cutoff; returns a message if a position is not
   a number (comparisons alone would drop such an atom from every list).
------------------------------------------------------------------------- */

std::string PairMLIAPPython::pack()
{
  double **x = atom->x;
  const int *type = atom->type;
  const double cutoffsq = model->cutoff * model->cutoff;

  pairs.clear();
  for (int ii = 0; ii < list->inum; ii++) {
    const int i = list->ilist[ii];
    if (element[type[i]] < 0) continue;
    if (!std::isfinite(x[i][0] + x[i][1] + x[i][2]))
      return efgmd::not_finite(lmp, "position", {i}, "the run is unstable");
    pairs.begin_centre(i, element[type[i]]);
    const int *jlist = list->firstneigh[i];
    for (int jj = 0; jj < list->numneigh[i]; jj++) {
      const int j = jlist[jj] & NEIGHMASK;
      const double dx = x[j][0] - x[i][0], dy = x[j][1] - x[i][1], dz = x[j][2] - x[i][2];
      const int kind = element[type[j]];
      if (dx * dx + dy * dy + dz * dz < cutoffsq && kind >= 0) pairs.add(j, kind, dx, dy, dz);
    }
    pairs.end_centre();
  }
  return "";
}

/* ---------------------------------------------------------------------- */

std::string PairMLIAPPython::check_finite(double total) const
{
  std::vector<int> bad;
  for (std::size_t k = 0; k < pairs.ncentres(); k++) {
    double sum = energies[k];
    for (auto p = 3 * pairs.first[k]; p < 3 * pairs.first[k + 1]; p++) sum += pair_forces[p];
    if (!std::isfinite(sum)) bad.push_back(pairs.centre[k]);
  }
  if (!bad.empty()) return tell_not_finite(bad);
  if (!std::isfinite(total)) return "the total energy is not a finite number";
  return "";
}

/* ---------------------------------------------------------------------- */

std::string PairMLIAPPython::tell_not_finite(const std::vector<int> &atoms) const
{
  return efgmd::not_finite(lmp, "energy or force", atoms, "atoms too close, or far from what the model was trained on");
}

/* ---------------------------------------------------------------------- */

void PairMLIAPPython::scatter(double total)
{
  double **f = atom->f;
  if (eflag_global) eng_vdwl += energy_unit * total;
  for (std::size_t k = 0; k < pairs.ncentres(); k++) {
    const int i = pairs.centre[k];
    if (eflag_atom) eatom[i] += energy_unit * energies[k];
    for (auto p = pairs.first[k]; p < pairs.first[k + 1]; p++) {
      const int j = pairs.neighbour[p];
      const double g[3] = {energy_unit * pair_forces[3 * p], energy_unit * pair_forces[3 * p + 1],
                           energy_unit * pair_forces[3 * p + 2]};
      for (int d = 0; d < 3; d++) {
        f[i][d] += g[d];
        f[j][d] -= g[d];
      }
      if (vflag_either || cvflag_atom) tally_virial(i, j, &pairs.vectors[3 * p], g);
    }
  }
}

/* ----------------------------------------------------------------------
   Virial of one pair: -r_ij (x) dE_i/dr_ij. Per atom it is shared equally
   (stress/atom); the centroid form gives all of it to the neighbour, as the
   heat flux of a many-body potential needs (Fan et al., PRB 92, 094301 (2015)).
------------------------------------------------------------------------- */

void PairMLIAPPython::tally_virial(int i, int j, const double *r, const double *g)
{
  const double v[9] = {-r[0] * g[0], -r[1] * g[1], -r[2] * g[2], -r[0] * g[1], -r[0] * g[2],
                       -r[1] * g[2], -r[1] * g[0], -r[2] * g[0], -r[2] * g[1]};
  for (int c = 0; c < 6; c++) {
    if (vflag_global) virial[c] += v[c];
    if (vflag_atom) {
      vatom[i][c] += 0.5 * v[c];
      vatom[j][c] += 0.5 * v[c];
    }
  }
  if (cvflag_atom)
    for (int c = 0; c < 9; c++) cvatom[j][c] += v[c];
}

/* ---------------------------------------------------------------------- */

int PairMLIAPPython::pack_forward_comm(int n, int *atoms, double *buf, int /*pbc_flag*/, int * /*pbc*/)
{
  return exchange->pack_forward(n, atoms, buf);
}

void PairMLIAPPython::unpack_forward_comm(int n, int first, double *buf)
{
  exchange->unpack_forward(n, first, buf);
}

int PairMLIAPPython::pack_reverse_comm(int n, int first, double *buf)
{
  return exchange->pack_reverse(n, first, buf);
}

void PairMLIAPPython::unpack_reverse_comm(int n, int *atoms, double *buf)
{
  exchange->unpack_reverse(n, atoms, buf);
}

/* ---------------------------------------------------------------------- */

double PairMLIAPPython::memory_usage()
{
  const auto rows = row_of.capacity() + row_elements.capacity() + row_centres.capacity() + row_neighbours.capacity();
  return Pair::memory_usage() + pairs.bytes() + sizeof(int) * rows +
         sizeof(double) * (energies.capacity() + pair_forces.capacity() + row_forces.capacity());
}
