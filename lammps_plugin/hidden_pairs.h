// Pairs that LAMMPS leaves out of its neighbour lists.

#ifndef EFGMD_HIDDEN_PAIRS_H
#define EFGMD_HIDDEN_PAIRS_H

#include <string>
#include <vector>

namespace LAMMPS_NS {
class LAMMPS;
}

namespace efgmd {

// End with an error if neighbours that a model sees would be missing in surroundings, whatever forces that was to
// spare. `element` is that of each atom type, -1 for types that the model does not see.
void refuse_hidden_pairs(LAMMPS_NS::LAMMPS *lmp, const std::string &name, const std::vector<int> &element);

}    // namespace efgmd

#endif
