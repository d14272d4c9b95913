// What other files add to the module efgmd._kernels.

#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

void bind_network(pybind11::module_ &m);      // fused energy networks
void bind_repulsion(pybind11::module_ &m);    // what keeps nuclei apart
void bind_tensor(pybind11::module_ &m);       // fused linear EFG models
void bind_channels(pybind11::module_ &m);     // what atoms tell their neighbours
void bind_messages(pybind11::module_ &m);     // what messages add to linear EFG models
void bind_products(pybind11::module_ &m);     // their products with own channels

// For each element whether all its numbers are zero, which are equally many for each.
template <typename T> std::vector<bool> all_zero(const std::vector<T> &numbers, int elements)
{
  std::vector<bool> zero;
  const auto each = static_cast<std::ptrdiff_t>(numbers.size() / elements);
  for (auto begin = numbers.begin(); begin != numbers.end(); begin += each)
    zero.push_back(std::all_of(begin, begin + each, [](T number) { return number == 0; }));
  return zero;
}

// The centres of one kind, in their order.
inline void pick(long count, const long *kinds, long kind, std::vector<long> &order)
{
  order.clear();
  for (long i = 0; i < count; i++)
    if (kinds[i] == kind) order.push_back(i);
}

// The numbers of an array among a model's weights.
template <typename T> std::vector<T> values(const pybind11::dict &weights, const char *name)
{
  namespace py = pybind11;
  const auto array = py::array_t<T, py::array::c_style | py::array::forcecast>::ensure(weights[name]);
  if (!array) throw std::invalid_argument(std::string("no array of numbers for ") + name);
  return std::vector<T>(array.data(), array.data() + array.size());
}
