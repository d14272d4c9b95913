#include "python_runtime.h"

#include <algorithm>
#include <atom.h>
#include <climits>
#include <comm.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <error.h>
#include <lammps.h>
#include <mpi.h>
#include <unistd.h>
#include <update.h>

using namespace LAMMPS_NS;

namespace {

const char *const INSTEAD = "run LAMMPS inside Python instead: efgmd lmp -in FILE";

std::string own_directory()
{
  Dl_info info;
  if (!dladdr(reinterpret_cast<void *>(&own_directory), &info) || !info.dli_fname) return ".";
  std::string path = info.dli_fname;
  auto slash = path.find_last_of('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

bool is_executable(const std::string &path)
{
  return access(path.c_str(), X_OK) == 0;
}

// The interpreter of the environment that this plugin was installed into: the nearest bin/pythonX.Y above it.
std::string environment_python()
{
  if (const char *told = std::getenv("EFGMD_PYTHON")) return told;
  std::string directory = own_directory();
  for (auto slash = directory.find_last_of('/'); slash != std::string::npos; slash = directory.find_last_of('/')) {
    directory = directory.substr(0, slash);
    std::string python = directory + "/bin/python" EFGMD_PYTHON_VERSION;
    if (is_executable(python)) return python;
  }
  return "";
}

// Asks an interpreter for the places where its shared library may be, first its version; one per line.
std::vector<std::string> ask_python(const std::string &executable)
{
  const char *question = "import sys, sysconfig as s; v = s.get_config_var; "
                         "print('%d.%d' % sys.version_info[:2]); "
                         "n = v('INSTSONAME') or v('LDLIBRARY') or ''; "
                         "n = n if '.so' in n else 'libpython%d.%d.so.1.0' % sys.version_info[:2]; "
                         "print(v('LIBDIR') + '/' + n); print(sys.base_prefix + '/lib/' + n); print(n)";
  std::string command = "'" + executable + "' -I -S -c \"" + question + "\" 2>/dev/null";
  std::vector<std::string> lines;
  FILE *pipe = popen(command.c_str(), "r");
  if (!pipe) return lines;
  char buffer[4096];
  while (std::fgets(buffer, sizeof(buffer), pipe)) {
    buffer[std::strcspn(buffer, "\n")] = '\0';
    lines.emplace_back(buffer);
  }
  pclose(pipe);
  return lines;
}

// Makes Python's symbols visible to the bridge. On return `executable` is set if Python is still to be started.
efgmd::Failure find_python(std::string &executable)
{
  executable.clear();
  auto *is_initialized = reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, "Py_IsInitialized"));
  if (is_initialized && is_initialized()) return {};

  executable = environment_python();
  if (executable.empty())
    return {"no bin/python" EFGMD_PYTHON_VERSION " above " + own_directory() +
                ": set EFGMD_PYTHON to the interpreter of the environment that efgmd is installed in, or " + INSTEAD,
            ""};
  auto answer = ask_python(executable);
  if (answer.empty())
    return {executable + " does not run: set EFGMD_PYTHON to a working interpreter, or " + INSTEAD, ""};
  if (answer[0] != EFGMD_PYTHON_VERSION)
    return {executable + " is Python " + answer[0] +
                " but efgmd was built for Python " EFGMD_PYTHON_VERSION
                ": install efgmd into that environment again, or set EFGMD_PYTHON",
            ""};
  if (is_initialized) return {};

  std::string tried;
  for (std::size_t k = 1; k < answer.size(); k++) {
    if (dlopen(answer[k].c_str(), RTLD_NOW | RTLD_GLOBAL)) return {};
    tried += (k > 1 ? ", " : "") + answer[k];
  }
  return {"no shared Python library for " + executable + " (tried " + tried +
              "): install it (on Debian: apt install libpython" EFGMD_PYTHON_VERSION "), or " + INSTEAD,
          ""};
}

efgmd::Failure load_bridge(efgmd::OpenModel *&open)
{
  static efgmd::OpenModel *loaded = nullptr;
  open = loaded;
  if (loaded) return {};

  std::string executable;
  if (auto failure = find_python(executable)) return failure;
  std::string path = own_directory() + "/efgmd_bridge.so";
  void *bridge = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!bridge) return {std::string("the efgmd plugin is damaged, reinstall efgmd: ") + dlerror(), ""};
  auto *start = reinterpret_cast<efgmd::StartPython *>(dlsym(bridge, "efgmd_start_python"));
  auto *found = reinterpret_cast<efgmd::OpenModel *>(dlsym(bridge, "efgmd_open_model"));
  if (!start || !found) return {"the efgmd plugin is damaged, reinstall efgmd: " + path + " is not its bridge", ""};
  if (auto failure = start(executable.c_str())) return failure;
  open = loaded = found;
  return {};
}

std::string mpi_library()
{
  char text[MPI_MAX_LIBRARY_VERSION_STRING + 1] = {0};
  int length = 0;
  MPI_Get_library_version(text, &length);
  return std::string(text, length);
}

int local_rank(MPI_Comm world)
{
  MPI_Comm machine;
  int rank = 0;
  MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
  MPI_Comm_rank(machine, &rank);
  MPI_Comm_free(&machine);
  return rank;
}

void broadcast(std::string &text, int root, MPI_Comm world)
{
  int length = static_cast<int>(text.size());
  MPI_Bcast(&length, 1, MPI_INT, root, world);
  text.resize(length);
  MPI_Bcast(text.data(), length, MPI_CHAR, root, world);
}

}    // namespace

namespace efgmd {

void raise_together(LAMMPS *lmp, const std::string &style, const Failure &failure, bool running)
{
  int mine = failure ? lmp->comm->me : INT_MAX;
  int lowest = INT_MAX;
  MPI_Allreduce(&mine, &lowest, 1, MPI_INT, MPI_MIN, lmp->world);
  if (lowest == INT_MAX) return;

  Failure shared = failure;
  broadcast(shared.message, lowest, lmp->world);
  broadcast(shared.traceback, lowest, lmp->world);
  if (lmp->comm->me == 0 && !shared.traceback.empty()) utils::logmesg(lmp, shared.traceback + "\n");
  std::string where = style;
  if (running) where += " on rank " + std::to_string(lowest) + " at step " + std::to_string(lmp->update->ntimestep);
  lmp->error->all(FLERR, where + ": " + shared.message);
}

std::unique_ptr<PythonModel> open_model(LAMMPS *lmp, const std::string &style, const std::string &kind,
                                        const std::string &path, const ModelOptions &options)
{
  ModelRequest request;
  request.kind = kind;
  request.path = path;
  request.options = options;
  request.mpi_library = mpi_library();
  request.threads = lmp->comm->nthreads;
  request.local_rank = local_rank(lmp->world);

  OpenModel *open = nullptr;
  std::unique_ptr<PythonModel> model;
  Failure failure = load_bridge(open);
  if (!failure) model.reset(open(request, failure));
  raise_together(lmp, style, failure, false);
  if (lmp->comm->me == 0)
    utils::logmesg(lmp, "{}: {}, sha256 {}, {} on {}\n", style, path, model->sha256,
                   model->third_party ? "third-party object" : options.dtype, options.device);
  return model;
}

std::vector<int> match_elements(LAMMPS *lmp, const std::string &style, const std::string &path,
                                const std::vector<std::string> &elements, int count, char **names)
{
  std::string known;
  for (const auto &element : elements) known += " " + element;
  if (count != lmp->atom->ntypes)
    lmp->error->all(FLERR,
                    "{}: {} element names given for {} atom types: list one for each type, in order ({} knows{})",
                    style, count, lmp->atom->ntypes, path, known);
  std::vector<int> index(count + 1, -1);
  bool any = false;
  for (int k = 0; k < count; k++) {
    if (strcmp(names[k], "NULL") == 0) continue;
    auto found = std::find(elements.begin(), elements.end(), names[k]);
    if (found != elements.end()) index[k + 1] = static_cast<int>(found - elements.begin());
    if (index[k + 1] < 0)
      lmp->error->all(FLERR, "{}: {} does not know element {} of atom type {}; it knows{}", style, path, names[k],
                      k + 1, known);
    any = true;
  }
  if (!any) lmp->error->all(FLERR, "{}: every atom type is NULL: name at least one element of{}", style, known);
  return index;
}

ModelOptions take_options(LAMMPS *lmp, const std::string &style, int &narg, char **arg)
{
  ModelOptions options;
  for (; narg >= 2; narg -= 2) {
    const std::string key = arg[narg - 2], value = arg[narg - 1];
    if (key == "dtype") {
      if (value != "float32" && value != "float64")
        lmp->error->all(FLERR, "{}: dtype must be float32 or float64, not {}", style, value);
      options.dtype = value;
    } else if (key == "device") {
      if (value != "cpu" && value != "cuda")
        lmp->error->all(FLERR, "{}: device must be cpu or cuda, not {}", style, value);
      options.device = value;
    } else if (key == "uncertainty" || key == "members") {
      if (value != "yes" && value != "no")
        lmp->error->all(FLERR, "{}: {} must be yes or no, not {}", style, key, value);
      (key == "members" ? options.members : options.uncertainty) = value == "yes";
    } else
      break;
  }
  return options;
}

}    // namespace efgmd
