// What a model in Python says about each atom:
// compute ID GROUP efg/atom MODEL ELEMENTS... [dtype float32|float64] [device cpu|cuda] [uncertainty yes|no]
// [members yes|no]: electric field gradients;
// compute ID GROUP extrapolation/atom MODEL ELEMENTS... [dtype float32|float64] [device cpu|cuda]: how far the atoms'
// surroundings are from those that an energy model was trained on.

#ifndef LMP_COMPUTE_MODEL_ATOM_H
#define LMP_COMPUTE_MODEL_ATOM_H

#include "centred_pairs.h"

#include <compute.h>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace efgmd {
class NeighbourSearch;
class PythonModel;
}    // namespace efgmd

namespace LAMMPS_NS {

class ComputeModelAtom : public Compute {
 public:
  // `kind` is what the model is opened as, `quantity` the name of its values in messages.
  ComputeModelAtom(class LAMMPS *, int, char **, const std::string &kind, const std::string &quantity);
  ~ComputeModelAtom() override;
  void init() override;
  void compute_peratom() override;
  int pack_forward_comm(int, int *, double *, int, int *) override;
  void unpack_forward_comm(int, int, double *) override;
  double memory_usage() override;

 protected:
  std::unique_ptr<efgmd::PythonModel> model;
  std::unique_ptr<efgmd::NeighbourSearch> search;
  std::vector<int> element;    // of each atom type, -1 for NULL

  std::string name, quantity;
  int nmax = 0;
  double **values = nullptr;    // of each owned atom, as many as the model has columns

  efgmd::CentredPairs pairs;
  std::vector<int> elements;      // of each owned and ghost atom
  std::vector<double> results;    // of each centre that is wanted

  std::size_t wanted = 0;    // centres of the group; those after them only tell of their surroundings

  // What atoms tell their neighbours: first the centres, then all ghosts.
  std::vector<double> sent;
  std::vector<std::int64_t> centre_of;    // of each owned atom, -1 if it is none
  std::vector<std::int64_t> rows;         // of each pair of the group, what the neighbour told
  bool probing = false;                   // whether only the lists of what is exchanged are looked at
  bool stale = false;                     // the atoms are not those whose communication was set up

  void refuse_unknown();
  bool is_unknown(int) const;
  std::string unknown_element(int) const;
  void refuse_stale();
  std::string find_pairs();
  void add_senders();
  std::int64_t row_of(int i) const;
  std::string store();
};

}    // namespace LAMMPS_NS

#endif
