// A model that lives in Python, as the C++ styles see it. No Python header is needed here: the implementation is in the
// bridge, a separate shared object that is loaded after Python.

#ifndef EFGMD_PYTHON_MODEL_H
#define EFGMD_PYTHON_MODEL_H

#include "centred_pairs.h"

#include <string>
#include <vector>

namespace efgmd {

// What went wrong: one line for the user, and the Python traceback where it was not a plain user's mistake.
struct Failure {
  std::string message;
  std::string traceback;
  explicit operator bool() const { return !message.empty(); }
};

struct ModelRequest {
  std::string kind;           // "energy" or "efg"
  std::string path;           // model file
  std::string dtype;          // "float32" or "float64"
  std::string mpi_library;    // what liblammps' MPI says it is
  int threads = 1;            // for this rank, as LAMMPS counts them
};

// What third-party ML-IAP objects may look at beyond the pairs themselves.
struct MliapExtras {
  int nlocal = 0;
  int ntotal = 0;
  const int *elements = nullptr;    // element of each owned and ghost atom, -1 where the model has none
  double *forces = nullptr;         // LAMMPS' force array, ntotal x 3
  int eflag = 0;
  int vflag = 0;
};

// No method throws: exceptions do not cross the border between Python and LAMMPS.
class PythonModel {
 public:
  virtual ~PythonModel() = default;
  std::vector<std::string> elements;
  double cutoff = 0.0;    // angstrom

  // Energy in eV, one per centre, and dE/d(vector) in eV/angstrom, three per pair; total is their sum (third-party
  // objects may set it on their own).
  virtual Failure energies(const CentredPairs &pairs, const MliapExtras &extras, std::vector<double> &energies,
                           std::vector<double> &pair_forces, double &total) = 0;

  // Electric field gradient, xx yy zz xy xz yz for each centre, atomic units.
  virtual Failure efg(const CentredPairs &pairs, std::vector<double> &tensors) = 0;
};

// Entry points of the bridge, found by name.
using StartPython = Failure(const char *executable);
using OpenModel = PythonModel *(const ModelRequest &, Failure &);

}    // namespace efgmd

#endif
