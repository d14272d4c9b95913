// Python module efgmd._kernels: the inner loops of the models for x86-64-v4, x86-64-v3 and any other processor, chosen
// when the module is loaded. Arrays arrive as addresses (torch.Tensor.data_ptr()); the Python side checks shapes, types
// and contiguity before it calls.

#include "kernels_dispatch.h"
#include "kernels_modules.h"

#include <pybind11/stl.h>
#include <stdexcept>
#include <string>

namespace py = pybind11;

namespace {

template <typename T> T *at(std::uintptr_t address)
{
  return reinterpret_cast<T *>(address);
}

enum class Mode { forward, vjp, jvp };

template <typename T, int LMAX>
void run_density(Mode mode, const long *kinds, const long *first, const long *base, const long *stride,
                 const long *neighbours, long count, const std::vector<double> &cutoffs, double r0, int radial_count,
                 const T *vectors, const T *in, T *out)
{
  const std::vector<T> norm = normalisation<T>(LMAX);
  const int species = static_cast<int>(cutoffs.size());
  constexpr long pad = padded((LMAX + 1) * (LMAX + 1));
  std::vector<T> scratch(static_cast<std::size_t>(species) * radial_count * pad);
  DISPATCH({
    std::vector<Radial<T>> radials;
    for (const double cutoff : cutoffs) radials.push_back({static_cast<T>(cutoff), static_cast<T>(r0), radial_count});
    for (long i = 0; i < count; i++) {
      const Radial<T> &radial = radials[kinds[i]];
      const Neighbours<T> nb = {first[i], first[i + 1], vectors, neighbours, species};
      if (mode == Mode::forward)
        density<T, LMAX>(nb, radial, norm.data(), scratch.data(), out + base[i], stride[i]);
      else if (mode == Mode::vjp)
        density_vjp<T, LMAX>(nb, radial, norm.data(), in + base[i], stride[i], scratch.data(), out);
      else
        density_jvp<T, LMAX>(nb, radial, norm.data(), in, scratch.data(), out + base[i], stride[i]);
    }
  })
}

template <typename T>
void density_any(Mode mode, int lmax, std::uintptr_t kinds, std::uintptr_t first, std::uintptr_t base,
                 std::uintptr_t stride, std::uintptr_t neighbours, long count, const std::vector<double> &cutoffs,
                 double r0, int radial_count, std::uintptr_t vectors, std::uintptr_t in, std::uintptr_t out)
{
  auto call = [&](auto run) {
    run(mode, at<const long>(kinds), at<const long>(first), at<const long>(base), at<const long>(stride),
        at<const long>(neighbours), count, cutoffs, r0, radial_count, at<const T>(vectors), at<const T>(in),
        at<T>(out));
  };
  switch (lmax) {
    case 1: return call(run_density<T, 1>);
    case 2: return call(run_density<T, 2>);
    case 3: return call(run_density<T, 3>);
    case 4: return call(run_density<T, 4>);
  }
}

void py_density(const std::string &mode, bool is_double, int lmax, std::uintptr_t kinds, std::uintptr_t first,
                std::uintptr_t base, std::uintptr_t stride, std::uintptr_t neighbours, long count,
                const std::vector<double> &cutoffs, double r0, int radial_count, std::uintptr_t vectors,
                std::uintptr_t in, std::uintptr_t out)
{
  if (lmax < 1 || lmax > MAX_L) throw std::invalid_argument("lmax must be 1 to 4");
  if (radial_count < 1 || radial_count > MAX_RADIAL) throw std::invalid_argument("radial functions must be 1 to 32");
  if (cutoffs.empty() || cutoffs.size() > MAX_SPECIES) throw std::invalid_argument("elements must be 1 to 118");
  const Mode m = mode == "forward" ? Mode::forward : mode == "vjp" ? Mode::vjp : Mode::jvp;
  py::gil_scoped_release release;
  auto run = is_double ? density_any<double> : density_any<float>;
  run(m, lmax, kinds, first, base, stride, neighbours, count, cutoffs, r0, radial_count, vectors, in, out);
}

template <typename T>
void run_product(long rows, long width, std::uintptr_t start, std::uintptr_t ia, std::uintptr_t ib,
                 std::uintptr_t coefficient, std::uintptr_t a, std::uintptr_t b, std::uintptr_t out)
{
  DISPATCH(product<T>(rows, width, at<const long>(start), at<const int>(ia), at<const int>(ib),
                      at<const T>(coefficient), at<const T>(a), at<const T>(b), at<T>(out)))
}

void py_product(bool is_double, long rows, long width, std::uintptr_t start, std::uintptr_t ia, std::uintptr_t ib,
                std::uintptr_t coefficient, std::uintptr_t a, std::uintptr_t b, std::uintptr_t out)
{
  py::gil_scoped_release release;
  auto run = is_double ? run_product<double> : run_product<float>;
  run(rows, width, start, ia, ib, coefficient, a, b, out);
}

const char *instruction_set()
{
  return level == Level::v4 ? "x86-64-v4" : level == Level::v3 ? "x86-64-v3" : "generic";
}

void set_instruction_set(const std::string &name)
{
  const Level wanted = name == "x86-64-v4" ? Level::v4 : name == "x86-64-v3" ? Level::v3 : Level::generic;
  if (wanted > best_level()) throw std::invalid_argument("this processor has no " + name);
  level = wanted;
}

}    // namespace

PYBIND11_MODULE(_kernels, m)
{
  m.doc() = "Neighbour densities, their derivatives and sparse Clebsch-Gordan products, vectorised.";
  m.def("density", &py_density);
  m.def("product", &py_product);
  m.def("instruction_set", &instruction_set);
  m.def("set_instruction_set", &set_instruction_set);
  bind_network(m);
  bind_repulsion(m);
  bind_tensor(m);
  bind_channels(m);
  bind_messages(m);
  bind_products(m);
}
