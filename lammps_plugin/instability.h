// What is told of a run whose numbers have ceased to be numbers.

#ifndef EFGMD_INSTABILITY_H
#define EFGMD_INSTABILITY_H

#include <string>
#include <vector>

namespace LAMMPS_NS {
class LAMMPS;
}

namespace efgmd {

// One line: `what` of the given owned atoms, `why`, and the last restart file.
std::string not_finite(LAMMPS_NS::LAMMPS *lmp, const std::string &what, const std::vector<int> &atoms,
                       const std::string &why);

}    // namespace efgmd

#endif
