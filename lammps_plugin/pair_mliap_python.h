// pair_style mliap unified MODEL [0] [dtype float32|float64]: energies and forces from a model in Python.

#ifndef LMP_PAIR_MLIAP_PYTHON_H
#define LMP_PAIR_MLIAP_PYTHON_H

#include "centred_pairs.h"

#include <memory>
#include <pair.h>
#include <string>
#include <vector>

namespace efgmd {
class PythonModel;
}

namespace LAMMPS_NS {

class PairMLIAPPython : public Pair {
 public:
  PairMLIAPPython(class LAMMPS *);
  ~PairMLIAPPython() override;
  void settings(int, char **) override;
  void coeff(int, char **) override;
  void init_style() override;
  double init_one(int, int) override;
  void compute(int, int) override;
  double memory_usage() override;

 protected:
  std::unique_ptr<efgmd::PythonModel> model;
  std::string path;            // model file, for messages
  std::vector<int> element;    // of each atom type, -1 for NULL
  double energy_unit = 1.0;    // of the simulation, per eV

  efgmd::CentredPairs pairs;    // within the cutoff, of this step
  std::vector<int> elements;    // of each owned and ghost atom
  std::vector<double> energies, pair_forces;

  void allocate();
  std::string pack();
  std::string check_finite(double total) const;
  void scatter(double total);
  void tally_virial(int, int, const double *, const double *);
};

}    // namespace LAMMPS_NS

#endif
