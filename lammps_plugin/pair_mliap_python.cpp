#include "pair_mliap_python.h"

#include "ghost_exchange.h"
#include "hidden_pairs.h"
#include "instability.h"
#include "python_runtime.h"

#include <atom.h>
#include <cmath>
#include <comm.h>
#include <cstdint>
#include <cstring>
#include <error.h>
#include <force.h>
#include <memory.h>
#include <neigh_list.h>
#include <neighbor.h>
#include <update.h>

using namespace LAMMPS_NS;

static const char STYLE[] = "Pair style mliap unified";

// About 1000 atoms: a call of Python is a small part of their time.
static const std::size_t PAIRS_PER_BLOCK = 50000;

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
  if (utils::strmatch(update->integrate_style, "^respa"))
    error->all(FLERR, "{} does not support run_style respa: write run_style verlet", STYLE);
  efgmd::refuse_hidden_pairs(lmp, STYLE, element);
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
  if (model->third_party)
    failure = evaluate_third_party(eflag, vflag);
  else
    failure = evaluate_in_blocks();
  efgmd::raise_together(lmp, STYLE, failure, true);
}

/* ----------------------------------------------------------------------
   Our own models are strictly local: a block of centres at a time, so that
   memory for pairs is bounded and what was written is still in the cache when
   it is read.
------------------------------------------------------------------------- */

efgmd::Failure PairMLIAPPython::evaluate_in_blocks()
{
  efgmd::Failure failure;
  for (int ii = 0; ii < list->inum && !failure;) {
    failure.message = pack(ii, PAIRS_PER_BLOCK);
    if (failure || pairs.ncentres() == 0) continue;
    efgmd::EnergyResult result;
    failure = model->energies(pairs, efgmd::MliapExtras(), result);
    if (!failure) failure.message = add(result);
  }
  return failure;
}

/* ----------------------------------------------------------------------
   Objects of other packages see all pairs of the rank and may exchange ghosts.
------------------------------------------------------------------------- */

efgmd::Failure PairMLIAPPython::evaluate_third_party(int eflag, int vflag)
{
  efgmd::Failure failure;
  int ii = 0;
  failure.message = pack(ii, SIZE_MAX);
  number_rows();
  exchange->begin(row_of, pairs.npairs() > 0);
  if (!failure && pairs.ncentres() > 0) {
    efgmd::MliapExtras extras;
    const bool hidden = row_elements.size() < row_of.size();
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
    efgmd::EnergyResult result;
    failure = model->energies(pairs, extras, result);
    if (!failure) failure.message = add(result);
    for (std::size_t i = 0; i < row_of.size() && !failure && hidden; i++)
      for (int d = 0; d < 3 && row_of[i] >= 0; d++) atom->f[i][d] += row_forces[3 * row_of[i] + d];
  }
  exchange->finish(failure);
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
  for (std::size_t p = 0; p < pairs.npairs(); p++) row_neighbours.push_back(row_of[pairs.neighbour[p]]);
}

/* ----------------------------------------------------------------------
   Fills the pairs within the cutoff, from entry ii of LAMMPS' list on until
   there are enough of them, and moves ii; returns a message if a position is
   not a number (comparisons alone would drop such an atom from every list).
------------------------------------------------------------------------- */

std::string PairMLIAPPython::pack(int &ii, std::size_t enough)
{
  const double *const *x = atom->x;
  const int *type = atom->type;
  const double cutoffsq = model->cutoff * model->cutoff;

  pairs.clear();
  for (; ii < list->inum && pairs.npairs() < enough; ii++) {
    const int i = list->ilist[ii];
    if (element[type[i]] < 0) continue;
    const double xi = x[i][0], yi = x[i][1], zi = x[i][2];
    if (!std::isfinite(xi + yi + zi)) return efgmd::not_finite(lmp, "position", {i}, "the run is unstable");
    const int *jlist = list->firstneigh[i];
    const int jnum = list->numneigh[i];
    pairs.begin_centre(i, element[type[i]], jnum);
    for (int jj = 0; jj < jnum; jj++) {
      const int j = jlist[jj] & NEIGHMASK;
      const double dx = x[j][0] - xi, dy = x[j][1] - yi, dz = x[j][2] - zi;
      const int kind = element[type[j]];
      pairs.add((dx * dx + dy * dy + dz * dz < cutoffsq) & (kind >= 0), j, kind, dx, dy, dz);
    }
    pairs.end_centre();
  }
  return "";
}

/* ---------------------------------------------------------------------- */

std::string PairMLIAPPython::tell_not_finite(const std::vector<int> &atoms) const
{
  return efgmd::not_finite(lmp, "energy or force", atoms, "atoms too close, or far from what the model was trained on");
}

/* ----------------------------------------------------------------------
   Adds the energies, forces and virials of the pairs; returns a message if
   one of them is not a number.
------------------------------------------------------------------------- */

std::string PairMLIAPPython::add(const efgmd::EnergyResult &result)
{
  std::vector<int> bad;
  for (std::size_t k = 0; k < pairs.ncentres(); k++) {
    if (!std::isfinite(result.energies[k])) bad.push_back(pairs.centre[k]);
    if (eflag_atom) eatom[pairs.centre[k]] += energy_unit * result.energies[k];
  }
  if (result.pair_forces && result.single)
    add_forces(static_cast<const float *>(result.pair_forces), result.energies, bad);
  else if (result.pair_forces)
    add_forces(static_cast<const double *>(result.pair_forces), result.energies, bad);
  if (!bad.empty()) return tell_not_finite(bad);
  if (!std::isfinite(result.total)) return "the total energy is not a finite number";
  if (eflag_global) eng_vdwl += energy_unit * result.total;
  return "";
}

/* ----------------------------------------------------------------------
   Virial of one pair: -r_ij (x) dE_i/dr_ij.
------------------------------------------------------------------------- */

template <typename T>
void PairMLIAPPython::add_forces(const T *pair_forces, const double *energies, std::vector<int> &bad)
{
  double *const *f = atom->f;
  const bool global = vflag_global, per_atom = vflag_atom || cvflag_atom;
  for (std::size_t k = 0; k < pairs.ncentres(); k++) {
    double sum[3] = {}, v[6] = {};
    for (auto p = pairs.first[k]; p < pairs.first[k + 1]; p++) {
      const int j = pairs.neighbour[p];
      const double *r = &pairs.vectors[3 * p];
      const double gx = energy_unit * pair_forces[3 * p], gy = energy_unit * pair_forces[3 * p + 1],
                   gz = energy_unit * pair_forces[3 * p + 2];
      sum[0] += gx;
      sum[1] += gy;
      sum[2] += gz;
      f[j][0] -= gx;
      f[j][1] -= gy;
      f[j][2] -= gz;
      if (global) {
        v[0] += r[0] * gx;
        v[1] += r[1] * gy;
        v[2] += r[2] * gz;
        v[3] += r[0] * gy;
        v[4] += r[0] * gz;
        v[5] += r[1] * gz;
      }
      if (per_atom) tally_atoms(pairs.centre[k], j, r, gx, gy, gz);
    }
    const int i = pairs.centre[k];
    for (int d = 0; d < 3; d++) f[i][d] += sum[d];
    for (int c = 0; c < 6; c++) virial[c] -= v[c];
    // One whose energy is not finite has been named already.
    if (!std::isfinite(sum[0] + sum[1] + sum[2]) && std::isfinite(energies[k])) bad.push_back(i);
  }
}

/* ----------------------------------------------------------------------
   Per atom the virial of a pair is shared equally (stress/atom); the centroid
   form gives all of it to the neighbour, as the heat flux of a many-body
   potential needs (Fan et al., PRB 92, 094301 (2015)).
------------------------------------------------------------------------- */

void PairMLIAPPython::tally_atoms(int i, int j, const double *r, double gx, double gy, double gz)
{
  const double v[9] = {-r[0] * gx, -r[1] * gy, -r[2] * gz, -r[0] * gy, -r[0] * gz,
                       -r[1] * gz, -r[1] * gx, -r[2] * gx, -r[2] * gy};
  for (int c = 0; c < 6 && vflag_atom; c++) {
    vatom[i][c] += 0.5 * v[c];
    vatom[j][c] += 0.5 * v[c];
  }
  for (int c = 0; c < 9 && cvflag_atom; c++) cvatom[j][c] += v[c];
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
  return Pair::memory_usage() + pairs.bytes() + sizeof(int) * rows + sizeof(double) * row_forces.capacity();
}
