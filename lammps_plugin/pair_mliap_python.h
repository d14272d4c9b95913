// pair_style mliap unified MODEL [0] [dtype float32|float64] [device cpu|cuda]: energies and forces from a model in
// Python.

#ifndef LMP_PAIR_MLIAP_PYTHON_H
#define LMP_PAIR_MLIAP_PYTHON_H

#include "centred_pairs.h"
#include "python_model.h"

#include <memory>
#include <pair.h>
#include <string>
#include <vector>

namespace efgmd {
class GhostExchange;
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
  int pack_forward_comm(int, int *, double *, int, int *) override;
  void unpack_forward_comm(int, int, double *) override;
  int pack_reverse_comm(int, int, double *) override;
  void unpack_reverse_comm(int, int *, double *) override;
  double memory_usage() override;

 protected:
  std::unique_ptr<efgmd::PythonModel> model;
  std::string path;            // model file, for messages
  std::vector<int> element;    // of each atom type, -1 for NULL
  double energy_unit = 1.0;    // of the simulation, per eV

  efgmd::CentredPairs pairs;    // within the cutoff, of this step: a block of centres, or all of the rank

  // What third-party objects see: the atoms of known elements only, numbered anew where some are hidden.
  std::unique_ptr<efgmd::GhostExchange> exchange;
  std::vector<int> row_of;                         // of each owned and ghost atom, -1 if hidden
  std::vector<int> row_elements;                   // of each row
  std::vector<int> row_centres, row_neighbours;    // rows of the pairs' atoms
  std::vector<double> row_forces;                  // on each row

  void allocate();
  std::string pack(int &ii, std::size_t enough);
  // Models on a device (pair_mliap_device.cpp).
  efgmd::DeviceResult on_device;
  std::vector<int> list_neighbours;    // of the pairs that the model has
  bool listed = false;                 // whether it has them
  efgmd::Failure pack_list();
  efgmd::Failure evaluate_on_device();
  void add_from_device();

  efgmd::Failure evaluate_in_blocks();
  efgmd::Failure evaluate_third_party(int eflag, int vflag);
  void number_rows();
  std::string tell_not_finite(const std::vector<int> &) const;
  std::string add(const efgmd::EnergyResult &);
  template <typename T> void add_forces(const T *pair_forces, const double *energies, std::vector<int> &bad);
  void tally_atoms(int, int, const double *, double, double, double);
};

}    // namespace LAMMPS_NS

#endif
