// Strings that are appended to, as states and steps of the core itself: no call into Python.
#pragma once
#include <deque>
#include <string>
#include <unordered_map>

#include "search.hpp"

namespace harness {

// `states`: the strings by state id. `required`: the state that each letter requires. `suffixes`:
// what each letter appends. All strings that are not a prefix of a required one are one state:
// no operation can observe what is appended to them.
class Texts {
 public:
  Texts(const std::vector<std::string>& states, std::span<const int32_t> required,
        std::vector<std::string> suffixes)
      : suffixes_(std::move(suffixes)) {
    for (const std::string& state : states) {
      states_.push_back(state);
      ids_.emplace(states_.back(), static_cast<int32_t>(states_.size()) - 1);
    }
    for (int32_t state : required)
      if (state != ANY && state != OPAQUE)
        required_.push_back(states_[state >= 0 ? state : -3 - state]);
    std::sort(required_.begin(), required_.end());
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
  std::deque<std::string> states_;  // a deque: `ids_` refers to its elements
  std::unordered_map<std::string_view, int32_t> ids_;
  std::vector<std::string_view> required_;  // sorted
  std::vector<std::string> suffixes_;
  std::string text_;  // kept for its capacity
  int32_t unseen_ = -1;

  bool begins_a_required(const std::string& text) const {
    auto at = std::lower_bound(required_.begin(), required_.end(), std::string_view(text));
    return at != required_.end() && at->starts_with(text);
  }

  int32_t append(int32_t state, int32_t letter) {
    if (state == unseen_) return unseen_;
    text_.assign(states_[state]);
    text_ += suffixes_[letter];
    bool unseen = !begins_a_required(text_);
    if (unseen && unseen_ >= 0) return unseen_;
    int32_t id = id_of(text_);
    if (unseen) unseen_ = id;
    return id;
  }

  int32_t id_of(const std::string& text) {
    auto known = ids_.find(text);
    if (known != ids_.end()) return known->second;
    states_.push_back(text);
    auto id = static_cast<int32_t>(states_.size()) - 1;
    ids_.emplace(states_.back(), id);
    return id;
  }
};

}  // namespace harness
