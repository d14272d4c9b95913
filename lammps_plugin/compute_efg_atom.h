// compute ID GROUP efg/atom MODEL ELEMENTS... [dtype float32|float64] [device cpu|cuda] [uncertainty yes|no]
// [members yes|no]: electric field gradients from a model in Python.

#ifndef LMP_COMPUTE_EFG_ATOM_H
#define LMP_COMPUTE_EFG_ATOM_H

#include "centred_pairs.h"

#include <compute.h>
#include <memory>
#include <string>
#include <vector>

namespace efgmd {
class NeighbourSearch;
class PythonModel;
}    // namespace efgmd

namespace LAMMPS_NS {

class ComputeEFGAtom : public Compute {
 public:
  ComputeEFGAtom(class LAMMPS *, int, char **);
  ~ComputeEFGAtom() override;
  void init() override;
  void compute_peratom() override;
  double memory_usage() override;

 protected:
  std::unique_ptr<efgmd::PythonModel> model;
  std::unique_ptr<efgmd::NeighbourSearch> search;
  std::vector<int> element;    // of each atom type, -1 for NULL

  int nmax = 0;
  double **efg = nullptr;    // xx yy zz xy xz yz of each owned atom, atomic units

  efgmd::CentredPairs pairs;
  std::vector<int> elements;    // of each owned and ghost atom
  std::vector<double> tensors;

  std::string find_pairs();
  std::string store();
};

}    // namespace LAMMPS_NS

#endif
