#include "context/rows.h"

#include <algorithm>

namespace edgereason {

std::string CheckRows(std::span<const Row> rows, const EngineInfo& info,
                      std::span<const Pos> lengths, std::span<std::int32_t> ahead) {
  const auto refuse = [](std::size_t row, const std::string& why) {
    return "row " + std::to_string(row) + ": " + why;
  };
  std::fill(ahead.begin(), ahead.end(), 0);
  if (rows.size() > static_cast<std::size_t>(info.max_rows)) {
    return refuse(rows.size(), "at most " + std::to_string(info.max_rows) + " rows a step");
  }
  std::int32_t num_outputs = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    if (row.seq < 0 || row.seq >= info.max_seqs) {
      return refuse(i, "no sequence " + std::to_string(row.seq));
    }
    const auto seq = static_cast<std::size_t>(row.seq);
    const Pos expected = lengths[seq] + ahead[seq]++;
    if (row.pos != expected) {
      return refuse(i, "position " + std::to_string(row.pos) + " of sequence " +
                           std::to_string(row.seq) + ", expected " + std::to_string(expected));
    }
    if (row.embedding != nullptr && (info.caps & kEmbedIn) == 0) {
      return refuse(i, "this model takes no embeddings");
    }
    if (row.embedding == nullptr && (row.token < 0 || row.token >= info.num_vocab)) {
      return refuse(i, "no token " + std::to_string(row.token));
    }
    num_outputs += row.output;
  }
  if (num_outputs <= info.max_seqs) return {};
  return refuse(rows.size(), "at most " + std::to_string(info.max_seqs) + " rows with output");
}

}  // namespace edgereason
