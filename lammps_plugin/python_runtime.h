// Finds or starts Python, loads the bridge to it, and reports failures on all ranks together.

#ifndef EFGMD_PYTHON_RUNTIME_H
#define EFGMD_PYTHON_RUNTIME_H

#include "python_model.h"

#include <memory>
#include <string>
#include <vector>

namespace LAMMPS_NS {
class LAMMPS;
}

namespace efgmd {

// Opens a model on every rank. Any failure ends the run on all ranks with one message that begins with `style`.
std::unique_ptr<PythonModel> open_model(LAMMPS_NS::LAMMPS *lmp, const std::string &style, const std::string &kind,
                                        const std::string &path, const ModelOptions &options);

// Collective: if any rank failed, ends the run on all ranks with the message of the lowest failing one.
// With `running`, the message names the rank and the step.
void raise_together(LAMMPS_NS::LAMMPS *lmp, const std::string &style, const Failure &failure, bool running);

// Index in `elements` for each of `names`, -1 for NULL; ends the run with a message when a name is not there.
std::vector<int> match_elements(LAMMPS_NS::LAMMPS *lmp, const std::string &style, const std::string &path,
                                const std::vector<std::string> &elements, int count, char **names);

// Trailing `dtype float32|float64`, `device cpu|cuda`, `uncertainty yes|no` and `members yes|no` in the arguments,
// which are shortened by them.
ModelOptions take_options(LAMMPS_NS::LAMMPS *lmp, const std::string &style, int &narg, char **arg);

}    // namespace efgmd

#endif
