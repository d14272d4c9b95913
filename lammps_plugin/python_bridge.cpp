// The bridge: all code that touches Python. Loaded by the runtime once Python's symbols are there.

#include "python_model.h"

#include <pybind11/embed.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

namespace py = pybind11;
using efgmd::AtomRows;
using efgmd::CentredPairs;
using efgmd::DeviceResult;
using efgmd::EnergyResult;
using efgmd::Failure;
using efgmd::MliapExtras;
using efgmd::ModelRequest;
using efgmd::PythonModel;

namespace {

// A numpy array on memory that C++ keeps.
template <typename T> py::array view(const T *data, std::vector<py::ssize_t> shape)
{
  static T nothing;    // numpy wants an address even for no elements
  return py::array_t<T>(shape, data ? data : &nothing, py::capsule(&nothing, [](void *) {}));
}

std::string one_line(std::string text)
{
  for (auto at = text.find('\n'); at != std::string::npos; at = text.find('\n')) text.replace(at, 1, " ");
  return text;
}

// A user's mistake is told in its own words; anything else with its type and traceback.
Failure describe(py::error_already_set &error)
{
  Failure failure;
  try {
    py::object trace = error.trace() ? error.trace() : py::object(py::none());
    py::object told = py::module_::import("efgmd.coupling.failures").attr("describe")(error.value(), trace);
    auto texts = told.cast<std::pair<std::string, std::string>>();
    failure.message = one_line(texts.first);
    failure.traceback = texts.second;
  } catch (std::exception &) {
    failure.message = one_line(error.what());
  }
  if (failure.message.empty()) failure.message = "unknown Python error";
  return failure;
}

template <typename Action> Failure guarded(Action action)
{
  py::gil_scoped_acquire gil;
  try {
    action();
  } catch (py::error_already_set &error) {
    return describe(error);
  } catch (std::exception &error) {
    return {one_line(error.what()), ""};
  }
  return {};
}

// An array of numbers of the model's, of type T if it is not one already.
template <typename T> py::array numbers(const py::handle &source, std::size_t size, const char *what)
{
  auto array = py::array_t<T, py::array::c_style | py::array::forcecast>::ensure(source);
  if (!array) throw py::error_already_set();
  if (static_cast<std::size_t>(array.size()) != size)
    throw std::runtime_error(std::string("the model returned ") + std::to_string(array.size()) + " numbers for " +
                             what + " where " + std::to_string(size) + " were expected");
  return array;
}

void copy(const py::handle &source, std::vector<double> &target, std::size_t size, const char *what)
{
  const py::array array = numbers<double>(source, size, what);
  const double *data = static_cast<const double *>(array.data());
  target.assign(data, data + size);
}

// The exchange as Python sees it: exchange(from, to, bytes per atom, forward), for contiguous arrays of one type.
py::cpp_function exchange_function(AtomRows *rows)
{
  return py::cpp_function([rows](const py::array &from, py::array &to, std::size_t row_bytes, bool forward) {
    return forward ? rows->forward(from.data(), to.mutable_data(), row_bytes)
                   : rows->reverse(from.data(), to.mutable_data(), row_bytes, from.itemsize() == 4);
  });
}

class BridgedModel : public PythonModel {
 public:
  explicit BridgedModel(const ModelRequest &request)
  {
    auto open = py::module_::import("efgmd.coupling.loader").attr("open_model");
    object =
        open(request.path, request.kind, request.options.dtype, request.options.device, request.options.uncertainty,
             request.options.members, request.threads, request.local_rank, request.mpi_library);
    elements = object.attr("elements").cast<std::vector<std::string>>();
    cutoff = object.attr("cutoff").cast<double>();
    centres.assign(elements.size(), cutoff);
    if (py::hasattr(object, "centre_cutoffs")) centres = object.attr("centre_cutoffs").cast<std::vector<double>>();
    if (py::hasattr(object, "message_cutoff")) {
      messages = object.attr("message_cutoff").cast<double>();
      message_width = object.attr("message_width").cast<int>();
    }
    if (py::hasattr(object, "without_tensors"))
      without = object.attr("without_tensors").cast<std::vector<std::string>>();
    sha256 = object.attr("sha256").cast<std::string>();
    third_party = py::hasattr(object, "evaluate_mliap");
    if (py::hasattr(object, "columns")) columns = object.attr("columns").cast<int>();
    on_device = py::hasattr(object, "take_list");
  }

  ~BridgedModel() override
  {
    py::gil_scoped_acquire gil;
    object = kept_energies = kept_forces = py::object();
  }

  Failure energies(const CentredPairs &pairs, const MliapExtras &extras, EnergyResult &told) override
  {
    return guarded([&] {
      py::tuple arrays = views(pairs, pairs.ncentres());
      py::tuple result;
      if (third_party)
        result = object.attr("evaluate_mliap")(
            *arrays, view(extras.centres, {ncentres(pairs)}), view(extras.neighbours, {npairs(pairs)}), extras.nlocal,
            view(extras.elements, {extras.ntotal}), view(extras.forces, {extras.ntotal, 3}), extras.eflag, extras.vflag,
            exchange_function(extras.exchange));
      else
        result = object.attr("evaluate")(*arrays);
      const py::array energies = numbers<double>(result[0], pairs.ncentres(), "the energies");
      told.energies = static_cast<const double *>(energies.data());
      kept_energies = energies;
      if (!result[1].is_none()) {
        told.single = py::isinstance<py::array_t<float>>(result[1]);
        const py::array forces = told.single ? numbers<float>(result[1], 3 * pairs.npairs(), "the pair forces")
                                             : numbers<double>(result[1], 3 * pairs.npairs(), "the pair forces");
        told.pair_forces = forces.data();
        kept_forces = forces;
      }
      if (result.size() > 2)
        told.total = result[2].cast<double>();
      else
        for (std::size_t k = 0; k < pairs.ncentres(); k++) told.total += told.energies[k];
    });
  }

  Failure take_list(const CentredPairs &centres, const std::vector<int> &neighbours,
                    const std::vector<int> &elements) override
  {
    return guarded([&] {
      object.attr("take_list")(view(elements.data(), {static_cast<py::ssize_t>(elements.size())}),
                               view(centres.centre.data(), {ncentres(centres)}),
                               view(centres.first.data(), {ncentres(centres) + 1}),
                               view(neighbours.data(), {static_cast<py::ssize_t>(neighbours.size())}));
    });
  }

  Failure evaluate(const double *positions, int natoms, bool shared, bool centroid, DeviceResult &result) override
  {
    return guarded([&] {
      py::tuple told = object.attr("evaluate")(view(positions, {natoms, 3}), shared, centroid);
      copy(told[0], result.energies, py::len(told[0]), "the energies");
      copy(told[1], result.forces, 3 * natoms, "the forces");
      copy(told[2], result.virial, 6, "the virial");
      copy(told[3], result.shared, shared ? 6 * natoms : 0, "the virials of atoms");
      copy(told[4], result.centroid, centroid ? 9 * natoms : 0, "the centroid virials");
    });
  }

  Failure messages_of(const CentredPairs &pairs, double *sent) override
  {
    return guarded([&] {
      const py::array rows = view(sent, {ncentres(pairs), message_width});
      object.attr("messages")(*views(pairs, pairs.ncentres()), rows);
    });
  }

  Failure of_atoms(const CentredPairs &pairs, std::size_t wanted, const std::vector<std::int64_t> &rows,
                   const std::vector<double> &sent, std::vector<double> &results) override
  {
    return guarded([&] {
      const py::tuple arrays = views(pairs, wanted);
      if (message_width == 0) {
        copy(object.attr("evaluate")(*arrays), results, columns * wanted, "the atoms");
        return;
      }
      const auto senders = static_cast<py::ssize_t>(sent.size()) / message_width;
      copy(object.attr("evaluate_with_messages")(*arrays, view(rows.data(), {static_cast<py::ssize_t>(rows.size())}),
                                                 view(sent.data(), {senders, message_width})),
           results, columns * wanted, "the atoms");
    });
  }

 private:
  py::object object;
  py::object kept_energies, kept_forces;    // whose memory was handed out

  static py::ssize_t ncentres(const CentredPairs &pairs) { return static_cast<py::ssize_t>(pairs.ncentres()); }
  static py::ssize_t npairs(const CentredPairs &pairs) { return static_cast<py::ssize_t>(pairs.npairs()); }

  // The first `count` centres and their pairs.
  static py::tuple views(const CentredPairs &pairs, std::size_t count)
  {
    const auto centres = static_cast<py::ssize_t>(count);
    const auto npairs = static_cast<py::ssize_t>(pairs.first[count]);
    return py::make_tuple(view(pairs.species.data(), {centres}), view(pairs.first.data(), {centres + 1}),
                          view(pairs.neighbour_species.data(), {npairs}), view(pairs.vectors.data(), {npairs, 3}));
  }
};

}    // namespace

extern "C" __attribute__((visibility("default"))) Failure efgmd_start_python(const char *executable)
{
  if (Py_IsInitialized()) return {};

  PyConfig config;
  PyConfig_InitPythonConfig(&config);
  config.parse_argv = 0;
  config.install_signal_handlers = 0;
  PyStatus status = PyConfig_SetBytesString(&config, &config.executable, executable);
  if (!PyStatus_Exception(status)) status = PyConfig_SetBytesString(&config, &config.program_name, executable);
  if (!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
  PyConfig_Clear(&config);
  if (PyStatus_Exception(status))
    return {std::string("Python of ") + executable + " does not start: " + (status.err_msg ? status.err_msg : "?"), ""};
  // The lock stays with this thread: a LAMMPS with Python of its own ends the interpreter and expects to hold it.

  if (auto failure = guarded([] { py::module_::import("efgmd.coupling.loader"); })) {
    failure.message = std::string("no efgmd in Python ") + executable + " (" + failure.message +
                      "): set EFGMD_PYTHON to the interpreter of the environment that efgmd is installed in";
    failure.traceback.clear();
    return failure;
  }
  return {};
}

extern "C" __attribute__((visibility("default"))) PythonModel *efgmd_open_model(const ModelRequest &request,
                                                                                Failure &failure)
{
  PythonModel *model = nullptr;
  failure = guarded([&] { model = new BridgedModel(request); });
  return model;
}
