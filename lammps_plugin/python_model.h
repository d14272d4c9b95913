// A model that lives in Python, as the C++ styles see it. No Python header is needed here: the implementation is in the
// bridge, a separate shared object that is loaded after Python.

#ifndef EFGMD_PYTHON_MODEL_H
#define EFGMD_PYTHON_MODEL_H

#include "centred_pairs.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace efgmd {

// What went wrong: one line for the user, and the Python traceback where it was not a plain user's mistake.
struct Failure {
  std::string message;
  std::string traceback;
  explicit operator bool() const { return !message.empty(); }
};

// How a model is to be evaluated.
struct ModelOptions {
  std::string dtype = "float32";    // or "float64"
  std::string device = "cpu";       // or "cuda"
  bool uncertainty = false;         // of tensors, and their grade of extrapolation, as two more numbers
  bool members = false;             // of a committee, six numbers each at the end
};

struct ModelRequest {
  std::string kind;    // "energy", "efg" or "extrapolation"
  std::string path;    // model file
  ModelOptions options;
  std::string mpi_library;    // what liblammps' MPI says it is
  int threads = 1;            // for this rank, as LAMMPS counts them
  int local_rank = 0;         // among the ranks of this machine
};

// Rows of numbers of owned and ghost atoms, carried between ranks; see ghost_exchange.h. Each call is collective and
// returns a message if it failed.
class AtomRows {
 public:
  virtual ~AtomRows() = default;
  virtual std::string forward(const void *from, void *to, std::size_t row_bytes) = 0;
  virtual std::string reverse(const void *from, void *to, std::size_t row_bytes, bool single) = 0;
};

// What third-party ML-IAP objects may look at beyond the pairs themselves. Only atoms of an element that the model
// knows are there, first the owned ones, then the ghosts; a row is the place of an atom among them.
struct MliapExtras {
  int nlocal = 0;
  int ntotal = 0;
  const int *elements = nullptr;      // of each row
  const int *centres = nullptr;       // row of each centre
  const int *neighbours = nullptr;    // row of each pair's neighbour
  double *forces = nullptr;           // force on each row, ntotal x 3, to be added to
  int eflag = 0;
  int vflag = 0;
  AtomRows *exchange = nullptr;
};

// Results of an energy model, in memory that stays until the next call.
struct EnergyResult {
  const double *energies = nullptr;     // of centres, eV
  const void *pair_forces = nullptr;    // dE/d(vector), three per pair, eV/angstrom; none if there are no forces
  bool single = false;                  // whether those are float, not double
  double total = 0.0;                   // sum of the energies; third-party objects may set it on their own
};

// Results of an energy model that lives on a device: per centre, and per owned and ghost atom.
struct DeviceResult {
  std::vector<double> energies;    // of centres, eV
  std::vector<double> forces;      // of all atoms, three each, eV/angstrom
  std::vector<double> virial;      // xx yy zz xy xz yz, eV
  std::vector<double> shared;      // of all atoms, six each, each pair's half at either end, eV; if asked for
  std::vector<double> centroid;    // of all atoms, nine each, all of it at the neighbour, eV; if asked for
};

// No method throws: exceptions do not cross the border between Python and LAMMPS.
class PythonModel {
 public:
  virtual ~PythonModel() = default;
  std::vector<std::string> elements;
  std::vector<std::string> without;    // those of them that the model gives no numbers for
  double cutoff = 0.0;                 // angstrom
  std::vector<double> centres;         // cutoff of the centres of each element, angstrom
  double messages = 0.0;               // cutoff of the densities that atoms tell neighbours of, angstrom
  int message_width = 0;               // with how many doubles, which may hold two floats each; 0 if they do not
  int columns = 6;                     // numbers that a model for `of_atoms` gives for each centre
  std::string sha256;                  // of the model file
  bool on_device = false;              // an energy model that keeps the pair list and is given positions
  bool third_party = false;            // an ML-IAP object: it sees MliapExtras, and may exchange rows of ghost atoms

  virtual Failure energies(const CentredPairs &pairs, const MliapExtras &extras, EnergyResult &result) = 0;

  // For models on a device: the centres and neighbours of a new list, with those of the skin, and the elements of all
  // atoms; then, as often as wanted, energies and forces at positions of all atoms, three each, angstrom.
  virtual Failure take_list(const CentredPairs &centres, const std::vector<int> &neighbours,
                            const std::vector<int> &elements) = 0;
  virtual Failure evaluate(const double *positions, int natoms, bool shared, bool centroid, DeviceResult &result) = 0;

  // What the centres tell their neighbours, `message_width` doubles each, which only the model can read.
  virtual Failure messages_of(const CentredPairs &pairs, double *sent) = 0;

  // Numbers of the first `wanted` centres, `columns` of them. An electric field gradient is xx yy zz xy xz yz, atomic
  // units, before what else the options ask for; a grade of extrapolation is one number. With messages `rows` holds the
  // row of `sent` that each neighbour of these centres told.
  virtual Failure of_atoms(const CentredPairs &pairs, std::size_t wanted, const std::vector<std::int64_t> &rows,
                           const std::vector<double> &sent, std::vector<double> &results) = 0;
};

// Entry points of the bridge, found by name.
using StartPython = Failure(const char *executable);
using OpenModel = PythonModel *(const ModelRequest &, Failure &);

}    // namespace efgmd

#endif
