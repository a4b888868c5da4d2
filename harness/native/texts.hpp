// Strings that are appended to, as states and steps, so that nobody is asked.
#pragma once
#include <deque>
#include <string>
#include <unordered_map>

#include "search.hpp"

namespace harness {

// `states`: by id, as the operations name them. `suffixes`: of each letter, what it appends.
class Texts {
 public:
  Texts(const std::vector<std::string>& states, std::vector<std::string> suffixes)
      : suffixes_(std::move(suffixes)) {
    for (const std::string& state : states) {
      states_.push_back(state);
      ids_.emplace(states_.back(), static_cast<int32_t>(states_.size()) - 1);
    }
  }

  Asked asked() {
    Asked asked;
    asked.step = [this](int32_t state, int32_t letter) { return append(state, letter); };
    asked.reaches = [this](int32_t state, int32_t later) {
      return states_[later].starts_with(states_[state]);
    };
    return asked;
  }

 private:
  std::deque<std::string> states_;  // stay where they are: `ids_` refers to them
  std::unordered_map<std::string_view, int32_t> ids_;
  std::vector<std::string> suffixes_;

  int32_t append(int32_t state, int32_t letter) {
    std::string text = states_[state] + suffixes_[letter];
    auto known = ids_.find(text);
    if (known != ids_.end()) return known->second;
    states_.push_back(std::move(text));
    auto id = static_cast<int32_t>(states_.size()) - 1;
    ids_.emplace(states_.back(), id);
    return id;
  }
};

}  // namespace harness
