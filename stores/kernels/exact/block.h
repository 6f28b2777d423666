// A few decoded rows and their canonical scores, for every scan over codes.
#pragma once

#include "decode.h"

namespace attar {

constexpr int ROWS = 8;  // rows that are decoded together, 24 kB at 768 dimensions

struct Queries {
  const float* coords;  // [m width], width a multiple of 16, zeros behind the last dimension
  const float* constant;
  int64_t m;
  int64_t width;
};

// A few decoded rows and what the score needs beside the inner product.
class Block {
 public:
  Block(const Source& source, int64_t width, int32_t level)
      : source_(source), kernels_(kernels(level)), width_(width), y_(ROWS * width, 0.0f) {}

  void fill(const int64_t* rows, int count) {
    count_ = count;
    for (int r = 0; r < count; ++r) {
      kernels_.decode[source_.kind](source_, rows[r], y_.data() + r * width_);
      factor_[r] = source_.scale ? half_to_float(source_.scale[rows[r]]) : 1.0f;
      sqnorm_[r] = source_.sqnorm ? source_.sqnorm[rows[r]] : 0.0f;
    }
  }

  void scores(const Queries& q, int64_t query, float* out) const {
    kernels_.dots(q.coords + query * width_, y_.data(), width_, count_, out);
    for (int r = 0; r < count_; ++r) {
      const float product = factor_[r] * out[r];
      const float sum = q.constant[query] + product;
      out[r] = source_.sqnorm ? sum - sqnorm_[r] : sum;
    }
  }

 private:
  const Source& source_;
  const Kernels& kernels_;
  int64_t width_;
  std::vector<float> y_;
  float factor_[ROWS];
  float sqnorm_[ROWS];
  int count_ = 0;
};

}  // namespace attar
