// A closed loop of clients that GET and SET, and the latency of each request.
//
// Each client has one request in flight. With a rate, requests are due at fixed times and latency
// is measured from then: a server that stalls is charged for the requests that it kept from being
// sent (no "coordinated omission", as Tene calls it).
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

namespace harness {

struct Load {
  std::string host;
  int port = 0;
  int clients = 1;
  double seconds = 1;
  int read_percent = 100;
  int value_bytes = 100;
  int64_t keys = 1;
  double rate = 0;  // requests a second over all clients; 0: as fast as they are answered
  uint64_t seed = 1;
};

constexpr int64_t SLICE_NS = 50'000'000, PATIENCE_NS = 30'000'000'000, CHECK_NS = 100'000'000;

struct Slice {  // requests answered within 50 ms (in the last: or later), and the longest latency
  int64_t count = 0, longest_ns = 0;
};

struct Measured {
  double seconds = 0;
  std::vector<uint32_t> reads, writes;  // latencies in units of 100 ns
  std::vector<Slice> slices;
  int64_t errors = 0;
  std::string first_error;
};

class Socket {
 public:
  Socket() = default;
  Socket(const Socket&) = delete;
  Socket(Socket&& other) noexcept : fd(other.fd) { other.fd = -1; }
  ~Socket() {
    if (fd >= 0) close(fd);
  }
  int fd = -1;
};

class LoadRun {
 public:
  // `check_signals` is called ten times a second, and may throw.
  LoadRun(const Load& load, std::function<void()> check_signals)
      : load_(load),
        check_signals_(std::move(check_signals)),
        random_(load.seed * 0x9E3779B97F4A7C15ull | 1) {
    value_.assign(load.value_bytes, 'x');
  }

  Measured run() {
    for (int i = 0; i < load_.clients; i++) clients_.emplace_back().socket.fd = open_one();
    began_ = now();
    const int64_t ends = began_ + static_cast<int64_t>(load_.seconds * 1e9);
    measured_.slices.resize(
        std::max<size_t>(1, static_cast<size_t>(load_.seconds * 1e9) / SLICE_NS));
    if (load_.rate > 0) interval_ns_ = static_cast<int64_t>(load_.clients / load_.rate * 1e9);
    for (size_t i = 0; i < clients_.size(); i++)
      clients_[i].due = began_ + interval_ns_ * static_cast<int64_t>(i) / load_.clients;
    polled_.resize(clients_.size());
    for (int64_t checked = began_; step(ends);) {
      if (now() > ends + PATIENCE_NS)
        throw std::runtime_error("requests were not answered for 30 s");
      if (now() - checked < CHECK_NS) continue;
      checked = now();
      check_signals_();
    }
    measured_.seconds = static_cast<double>(now() - began_) / 1e9;
    return std::move(measured_);
  }

 private:
  struct Client {
    Socket socket;
    int64_t due = 0;  // of the request in flight, or the next one
    bool open = false, reads = false;
    std::string out;  // the unsent part of the request
    std::string in;   // the received part of the reply
  };

  static int64_t now() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }

  uint64_t draw() {  // xorshift64*
    random_ ^= random_ >> 12;
    random_ ^= random_ << 25;
    random_ ^= random_ >> 27;
    return random_ * 0x2545F4914F6CDD1Dull;
  }

  int open_one() const {
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(load_.host.c_str(), std::to_string(load_.port).c_str(), &hints, &found) != 0)
      throw std::runtime_error("can't resolve " + load_.host);
    int fd = socket(found->ai_family, found->ai_socktype, found->ai_protocol);
    bool connected = fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) == 0;
    const std::string why = std::strerror(errno);
    freeaddrinfo(found);
    if (!connected) {
      if (fd >= 0) close(fd);
      throw std::runtime_error("can't connect to port " + std::to_string(load_.port) + ": " + why);
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
  }

  // Whether requests remain: those due before the end are still sent and answered.
  bool step(int64_t ends) {
    int64_t next = now() + CHECK_NS;
    bool more = false;
    for (size_t i = 0; i < clients_.size(); i++) {
      Client& client = clients_[i];
      const bool wanted = (load_.rate > 0 ? client.due : now()) < ends;
      if (!client.open && wanted && client.due <= now()) send(client);
      if (!client.open && wanted) next = std::min(next, client.due);
      more = more || client.open || wanted;
      polled_[i] = {client.socket.fd,
                    static_cast<short>(POLLIN | (client.out.empty() ? 0 : POLLOUT)), 0};
    }
    if (wait(next) <= 0) return more;
    for (size_t i = 0; i < clients_.size(); i++) {
      if (polled_[i].revents & POLLOUT) push(clients_[i]);
      if (polled_[i].revents & (POLLIN | POLLERR | POLLHUP)) receive(clients_[i]);
    }
    return more;
  }

  int wait(int64_t until) {
    const int64_t left = std::max<int64_t>(0, until - now());
#ifdef __linux__
    timespec most{left / 1'000'000'000, left % 1'000'000'000};
    return ppoll(polled_.data(), polled_.size(), &most, nullptr);
#else
    return poll(polled_.data(), static_cast<nfds_t>(polled_.size()),
                static_cast<int>(left / 1'000'000));
#endif
  }

  void send(Client& client) {
    client.reads = static_cast<int>(draw() % 100) < load_.read_percent;
    char key[32];
    const int length =
        std::snprintf(key, sizeof key, "key:%012lld",
                      static_cast<long long>(draw() % static_cast<uint64_t>(load_.keys)));
    const std::string named =
        "$" + std::to_string(length) + "\r\n" + std::string(key, length) + "\r\n";
    if (client.reads)
      client.out = "*2\r\n$3\r\nGET\r\n" + named;
    else
      client.out = "*3\r\n$3\r\nSET\r\n" + named + "$" + std::to_string(value_.size()) + "\r\n" +
                   value_ + "\r\n";
    if (load_.rate <= 0) client.due = now();
    client.open = true;
    push(client);
  }

  void push(Client& client) {
    while (!client.out.empty()) {
      const ssize_t sent =
          ::send(client.socket.fd, client.out.data(), client.out.size(), MSG_NOSIGNAL);
      if (sent < 0) {
        if (errno == EAGAIN || errno == EINTR) return;
        throw std::runtime_error(std::string("a connection broke: ") + std::strerror(errno));
      }
      client.out.erase(0, static_cast<size_t>(sent));
    }
  }

  void receive(Client& client) {
    char buffer[65536];
    const ssize_t got = recv(client.socket.fd, buffer, sizeof buffer, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) throw std::runtime_error("the server closed a connection");
    client.in.append(buffer, static_cast<size_t>(got));
    if (whole(client.in)) answered(client);
  }

  static bool whole(const std::string& reply) {
    const size_t line = reply.find("\r\n");
    if (line == std::string::npos) return false;
    if (reply[0] != '$') return true;
    const long length = std::strtol(reply.c_str() + 1, nullptr, 10);
    return length < 0 || reply.size() >= line + 4 + static_cast<size_t>(length);
  }

  void answered(Client& client) {
    const int64_t at = now(), took = at - client.due;
    if (client.in[0] == '-') {
      if (measured_.errors++ == 0)
        measured_.first_error = client.in.substr(1, client.in.find("\r\n") - 1);
    } else {
      auto& kind = client.reads ? measured_.reads : measured_.writes;
      kind.push_back(static_cast<uint32_t>(std::min<int64_t>(took / 100, UINT32_MAX)));
      const auto slice = static_cast<size_t>((at - began_) / SLICE_NS);
      auto& found = measured_.slices[std::min(slice, measured_.slices.size() - 1)];
      found.count++;
      found.longest_ns = std::max(found.longest_ns, took);
    }
    client.in.clear();
    client.open = false;
    if (load_.rate > 0) client.due += interval_ns_;
  }

  Load load_;
  std::function<void()> check_signals_;
  uint64_t random_;
  std::string value_;
  std::vector<Client> clients_;
  std::vector<pollfd> polled_;
  Measured measured_;
  int64_t began_ = 0, interval_ns_ = 0;
};

// A quantile of latencies in ms; 0 if there are none.
inline double quantile_ms(std::vector<uint32_t>& took, double share) {
  if (took.empty()) return 0;
  const auto at = static_cast<size_t>(share * static_cast<double>(took.size() - 1) + 0.5);
  std::nth_element(took.begin(), took.begin() + static_cast<std::ptrdiff_t>(at), took.end());
  return took[at] / 1e4;
}

}  // namespace harness
