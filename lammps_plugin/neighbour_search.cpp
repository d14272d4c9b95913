#include "neighbour_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace efgmd {

int NeighbourSearch::coordinate(double position, int d) const
{
  return std::clamp(static_cast<int>((position - low[d]) / width[d]), 0, ncells[d] - 1);
}

int NeighbourSearch::cell(const double *position) const
{
  return (coordinate(position[2], 2) * ncells[1] + coordinate(position[1], 1)) * ncells[0] + coordinate(position[0], 0);
}

void NeighbourSearch::sort(int n, double **positions, const std::vector<int> &of_elements)
{
  x = positions;
  elements = &of_elements;
  double high[3];
  std::fill_n(low, 3, std::numeric_limits<double>::max());
  std::fill_n(high, 3, std::numeric_limits<double>::lowest());
  int visible = 0;
  for (int i = 0; i < n; i++) {
    if (of_elements[i] < 0) continue;
    visible++;
    for (int d = 0; d < 3; d++) {
      low[d] = std::min(low[d], x[i][d]);
      high[d] = std::max(high[d], x[i][d]);
    }
  }
  // REACH cells are at least as wide as the shortest distance, and there are at most four times as many along an axis
  // as in a cube with a cell for each atom: a few far atoms must not make millions.
  const double most = std::max(1.0, std::cbrt(static_cast<double>(visible)));
  for (int d = 0; d < 3; d++) {
    const double extent = visible ? high[d] - low[d] : 0.0;
    ncells[d] = static_cast<int>(std::clamp(std::floor(REACH * extent / shortest), 1.0, std::ceil(4.0 * most)));
    width[d] = std::max(extent / ncells[d], shortest * 1e-6) * (1.0 + 1e-12);
  }

  start.assign(static_cast<std::size_t>(ncells[0]) * ncells[1] * ncells[2] + 1, 0);
  for (int i = 0; i < n; i++)
    if (of_elements[i] >= 0) start[cell(x[i]) + 1]++;
  for (std::size_t c = 1; c < start.size(); c++) start[c] += start[c - 1];
  atoms.resize(visible);
  std::vector<int> next(start.begin(), start.end() - 1);
  for (int i = 0; i < n; i++)
    if (of_elements[i] >= 0) atoms[next[cell(x[i])]++] = {x[i][0], x[i][1], x[i][2], i, of_elements[i]};
}

void NeighbourSearch::add_neighbours(int i, CentredPairs &pairs, double within)
{
  const double cutoffsq = within * within;
  int from[3], to[3];
  for (int d = 0; d < 3; d++) {
    const int here = coordinate(x[i][d], d);
    const int reach = static_cast<int>(std::min(within / width[d], 1.0 * ncells[d])) + 1;
    from[d] = std::max(here - reach, 0);
    to[d] = std::min(here + reach, ncells[d] - 1);
  }
  // The cells of a row follow each other, and so do their atoms.
  rows.clear();
  std::size_t most_pairs = 0;
  for (int cz = from[2]; cz <= to[2]; cz++)
    for (int cy = from[1]; cy <= to[1]; cy++) {
      const int row = (cz * ncells[1] + cy) * ncells[0];
      rows.push_back({start[row + from[0]], start[row + to[0] + 1]});
      most_pairs += rows.back().end - rows.back().begin;
    }
  pairs.begin_centre(i, (*elements)[i], most_pairs);
  const double xi = x[i][0], yi = x[i][1], zi = x[i][2];
  for (const Range &row : rows)
    for (int k = row.begin; k < row.end; k++) {
      const Placed &j = atoms[k];
      const double dx = j.x - xi, dy = j.y - yi, dz = j.z - zi;
      pairs.add((j.index != i) & (dx * dx + dy * dy + dz * dz < cutoffsq), j.index, j.element, dx, dy, dz);
    }
  pairs.end_centre();
}

}    // namespace efgmd
