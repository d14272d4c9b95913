#include "instability.h"

#include <algorithm>
#include <atom.h>
#include <lammps.h>
#include <output.h>

using namespace LAMMPS_NS;

namespace {

constexpr std::size_t NAMED = 5;    // atoms; they are seldom alone

// LAMMPS writes single files with the step in their name, or two files in turn, or both.
std::string last_restart(LAMMPS *lmp)
{
  const Output *output = lmp->output;
  if (!output->restart_flag) return "no restart files were asked for: write restart N FILE to keep some";
  if (output->last_restart < 0) return "no restart file yet in this run";
  const std::string step = std::to_string(output->last_restart);
  const bool single =
      output->restart_flag_single && (!output->restart_flag_double || output->restart_every_single == 0 ||
                                      output->last_restart % output->restart_every_single == 0);
  std::string name = single ? output->restart1 : output->restart_toggle ? output->restart2a : output->restart2b;
  if (single && name.find('*') != std::string::npos) name.replace(name.find('*'), 1, step);
  return "the last restart file is " + name + " of step " + step;
}

}    // namespace

std::string efgmd::not_finite(LAMMPS *lmp, const std::string &what, const std::vector<int> &atoms,
                              const std::string &why)
{
  std::vector<tagint> ids;
  for (int i : atoms) ids.push_back(lmp->atom->tag[i]);
  std::sort(ids.begin(), ids.end());
  std::string text = what + (ids.size() > 1 ? " of atoms " : " of atom ");
  for (std::size_t k = 0; k < std::min(ids.size(), NAMED); k++) text += (k ? " " : "") + std::to_string(ids[k]);
  if (ids.size() > NAMED) text += " and " + std::to_string(ids.size() - NAMED) + " more";
  return text + " is not a finite number: " + why + "; " + last_restart(lmp);
}
