#include "net/uring_poller.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "net/errors.h"
#include "net/files.h"
#include "runtime/check.h"

namespace kahuna::net {
namespace {

// What one read or write of a file asks for at most; the rest is a short result.
constexpr size_t kFileBytesMax = size_t{1} << 30;

int open_spare() {
  return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int pending_error(int fd) {
  int number = 0;
  socklen_t length = sizeof number;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &length) != 0) return errno;
  return number;
}

// Targets travel through the kernel as pointers to their common base.
void* raw(PollTarget& target) {
  return &target;
}
template <class T>
T* from_raw(void* target) {
  return static_cast<T*>(static_cast<PollTarget*>(target));
}

}  // namespace

Result<std::unique_ptr<UringPoller>> UringPoller::create(int wake_fd) {
  std::unique_ptr<UringPoller> poller(new UringPoller(wake_fd));
  RETURN_IF_ERROR(poller->set_up());
  return poller;
}

Result<> UringPoller::set_up() {
  io_uring_params params = {};
  // Disabled until the thread that runs the loop is known: the ring then belongs to it.
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_R_DISABLED |
                 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE;
  params.cq_entries = kCompletions;
  const int error = io_uring_queue_init_params(kSubmissions, &ring_, &params);
  if (error == -EINVAL) {
    return fail(ErrorCode::kVersion, "set up a ring: Linux 6.1 or newer is needed");
  }
  if (error == -EPERM) {
    return fail(ErrorCode::kIo,
                "set up a ring: not permitted (kernel.io_uring_disabled, or a container's seccomp "
                "profile)");
  }
  if (error < 0) return fail(error_from_errno(-error, "set up a ring"));
  has_ring_ = true;
  constexpr unsigned kNeeded = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP | IORING_FEAT_CQE_SKIP;
  if ((params.features & kNeeded) != kNeeded) {
    return fail(ErrorCode::kVersion, "set up a ring: the kernel lacks features");
  }
  spare_ = open_spare();
  return set_up_buffers();
}

Result<> UringPoller::set_up_buffers() {
  constexpr size_t kRingBytes = kBuffers * sizeof(io_uring_buf);
  void* memory =
      mmap(nullptr, kRingBytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
  if (memory == MAP_FAILED) return fail(error_from_errno(errno, "map a buffer ring"));
  buffer_ring_ = static_cast<io_uring_buf_ring*>(memory);
  io_uring_buf_reg registration = {};
  registration.ring_addr = reinterpret_cast<uint64_t>(memory);
  registration.ring_entries = kBuffers;
  registration.bgid = kBufferGroup;
  const int error = io_uring_register_buf_ring(&ring_, &registration, 0);
  if (error < 0) return fail(error_from_errno(-error, "register a buffer ring"));
  buffers_.reset(new std::byte[kBuffers * kBufferBytes]);
  io_uring_buf_ring_init(buffer_ring_);
  for (unsigned id = 0; id < kBuffers; ++id) return_buffer(id);
  return {};
}

UringPoller::~UringPoller() {
  for (FileOp* operation : std::exchange(starting_, {})) take(operation);
  if (enabled_ && pthread_equal(owner_, pthread_self())) wait_for_operations();
  if (has_ring_) io_uring_queue_exit(&ring_);
  for (FileOp* operation : files_) delete operation;
  if (buffer_ring_) munmap(buffer_ring_, kBuffers * sizeof(io_uring_buf));
  if (spare_ >= 0) ::close(spare_);
}

// The kernel may still write into memory of operations in flight: waits for those of files, which
// always end, and gives sockets, which were shut down, a moment.
void UringPoller::wait_for_operations() {
  constexpr int kRoundsMax = 100;
  for (int round = 0; !files_.empty() || (!registry_.empty() && round < kRoundsMax); ++round) {
    __kernel_timespec limit = {0, 10'000'000};
    io_uring_cqe* first = nullptr;
    io_uring_submit_and_wait_timeout(&ring_, &first, 1, &limit, nullptr);
    take_completions();
    for (const Arrival& arrival : arrivals_) {
      if (arrival.tag == Tag::kFile) {
        take(static_cast<FileOp*>(arrival.target));
        continue;
      }
      if (arrival.tag == Tag::kAccept && arrival.result >= 0) ::close(arrival.result);
      if (!(arrival.flags & IORING_CQE_F_MORE)) drop(*from_raw<PollTarget>(arrival.target));
    }
    arrivals_.clear();
  }
}

std::unique_ptr<FileOp> UringPoller::take(FileOp* operation) {
  files_[operation->place] = files_.back();
  files_[operation->place]->place = operation->place;
  files_.pop_back();
  return std::unique_ptr<FileOp>(operation);
}

void UringPoller::return_buffer(unsigned id) {
  io_uring_buf_ring_add(buffer_ring_, buffers_.get() + id * kBufferBytes, kBufferBytes,
                        static_cast<unsigned short>(id), io_uring_buf_ring_mask(kBuffers), 0);
  io_uring_buf_ring_advance(buffer_ring_, 1);
}

io_uring_sqe* UringPoller::submission() {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  if (sqe) return sqe;
  submit_all();
  sqe = io_uring_get_sqe(&ring_);
  CHECK(sqe != nullptr);
  return sqe;
}

void UringPoller::mark(io_uring_sqe* sqe, Tag tag, void* target) {
  sqe->user_data = reinterpret_cast<uint64_t>(target) | static_cast<uint64_t>(tag);
}

void UringPoller::enable() {
  if (std::exchange(enabled_, true)) {
    CHECK(pthread_equal(owner_, pthread_self()));  // a loop stays on one thread
    return;
  }
  owner_ = pthread_self();
  // The library's io_uring_enable_rings() is declared and, in some versions, not exported.
  CHECK_EQ(syscall(__NR_io_uring_register, ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0),
           0);
}

void UringPoller::submit_all() {
  enable();
  while (io_uring_sq_ready(&ring_) > 0) {
    const int result = io_uring_submit_and_get_events(&ring_);
    // Busy means that completions wait for room: taking them makes it.
    if (result == -EBUSY || result == -EAGAIN) take_completions();
    CHECK(result >= 0 || result == -EINTR || result == -EBUSY || result == -EAGAIN);
  }
}

void UringPoller::hold(PollTarget& target) {
  if (target.operations++ > 0) return;
  target.registry_place = registry_.size();
  registry_.emplace_back(&target);
}

void UringPoller::drop(PollTarget& target) {
  CHECK_GT(target.operations, 0u);
  if (--target.operations > 0) return;
  const size_t place = target.registry_place;
  std::swap(registry_[place], registry_.back());
  registry_[place]->registry_place = place;
  registry_.pop_back();
}

void UringPoller::watch(Acceptor& acceptor) {
  arming_acceptors_.emplace_back(&acceptor);
}

void UringPoller::unwatch(Acceptor& acceptor) {
  acceptor.on_accept.reset();
  // The operation in flight holds the socket: shutting it down ends both.
  shutdown(acceptor.fd, SHUT_RDWR);
  ::close(acceptor.fd);
  acceptor.fd = -1;
}

void UringPoller::watch(Connection& connection) {
  list_for_arming(connection);
}
void UringPoller::update(Connection& connection) {
  list_for_arming(connection);
}

void UringPoller::list_for_arming(Connection& connection) {
  if (std::exchange(connection.back_end.arming, true)) return;
  arming_.emplace_back(&connection);
}

void UringPoller::request_flush(Connection& connection) {
  if (connection.blocked || std::exchange(connection.dirty, true)) return;
  dirty_.emplace_back(&connection);
}

void UringPoller::close(Connection& connection) {
  if (connection.fd < 0) return;
  if (connection.state == Connection::State::kOpen && !connection.out.empty()) {
    [[maybe_unused]] const ssize_t sent = ::send(
        connection.fd, connection.out.data(), connection.out.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  connection.state = Connection::State::kClosed;
  std::string().swap(connection.out);
  // Operations in flight hold the socket: shutting it down ends them.
  if (connection.operations > 0) shutdown(connection.fd, SHUT_RDWR);
  ::close(connection.fd);
  connection.fd = -1;
}

bool UringPoller::start(FileOp& operation) {
  operation.place = files_.size();
  files_.push_back(&operation);
  starting_.push_back(&operation);
  return true;
}

void UringPoller::submit(FileOp& operation) {
  io_uring_sqe* sqe = submission();
  const int fd = operation.file->fd;
  const auto size = static_cast<unsigned>(std::min<size_t>(operation.size, kFileBytesMax));
  switch (operation.kind) {
    case FileOp::Kind::kRead:
      io_uring_prep_read(sqe, fd, operation.bytes, size, operation.offset);
      break;
    case FileOp::Kind::kWrite:
      io_uring_prep_write(sqe, fd, operation.bytes, size, operation.offset);
      break;
    case FileOp::Kind::kDurableWrite:
      io_uring_prep_write(sqe, fd, operation.bytes, size, operation.offset);
      sqe->rw_flags = RWF_DSYNC;
      break;
    case FileOp::Kind::kSync: io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC); break;
  }
  mark(sqe, Tag::kFile, &operation);
}

void UringPoller::flush() {
  if (!wake_watched_) {
    wake_watched_ = true;
    io_uring_sqe* sqe = submission();
    io_uring_prep_poll_multishot(sqe, wake_fd_, POLLIN);
    mark(sqe, Tag::kWake, nullptr);
  }
  for (const CountedPtr<Acceptor>& acceptor : arming_acceptors_) {
    if (acceptor->fd >= 0) arm(*acceptor);
  }
  arming_acceptors_.clear();
  for (const CountedPtr<Connection>& connection : arming_) {
    connection->back_end.arming = false;
    if (connection->fd >= 0) arm(*connection);
  }
  arming_.clear();
  for (const CountedPtr<Connection>& connection : dirty_) {
    connection->dirty = false;
    if (connection->state == Connection::State::kOpen) send(*connection);
  }
  dirty_.clear();
  // After what is sent: starting a device's work takes longer, and peers' disks can work meanwhile.
  for (FileOp* operation : starting_) submit(*operation);
  starting_.clear();
}

void UringPoller::arm(Acceptor& acceptor) {
  io_uring_sqe* sqe = submission();
  io_uring_prep_multishot_accept(sqe, acceptor.fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  mark(sqe, Tag::kAccept, raw(acceptor));
  hold(acceptor);
}

void UringPoller::arm(Connection& connection) {
  auto& state = connection.back_end;
  const auto poll = [&](unsigned events, Tag tag) {
    io_uring_sqe* sqe = submission();
    io_uring_prep_poll_add(sqe, connection.fd, events);
    mark(sqe, tag, raw(connection));
    hold(connection);
  };
  const bool connecting = connection.state == Connection::State::kConnecting;
  if ((connecting || connection.blocked) && !std::exchange(state.polling, true)) {
    poll(POLLOUT, Tag::kPoll);
  }
  if (connecting) return;
  if (!connection.paused && !std::exchange(state.receiving, true)) {
    io_uring_sqe* sqe = submission();
    io_uring_prep_recv_multishot(sqe, connection.fd, nullptr, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = kBufferGroup;
    mark(sqe, Tag::kReceive, raw(connection));
    hold(connection);
  }
  if (!connection.paused) return;
  // Nobody reads: stop receiving, but hear of a reset.
  if (state.receiving && !std::exchange(state.cancelling, true)) {
    io_uring_sqe* sqe = submission();
    io_uring_prep_cancel64(
        sqe, reinterpret_cast<uint64_t>(raw(connection)) | static_cast<uint64_t>(Tag::kReceive), 0);
    mark(sqe, Tag::kIgnored, nullptr);
  }
  if (!std::exchange(state.watching, true)) poll(0, Tag::kWatch);
}

void UringPoller::send(Connection& connection) {
  if (connection.blocked || connection.out.empty()) return;
  io_uring_sqe* sqe = submission();
  io_uring_prep_send(sqe, connection.fd, connection.out.data(), connection.out.size(),
                     MSG_NOSIGNAL | MSG_DONTWAIT | MSG_WAITALL);
  sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
  mark(sqe, Tag::kSend, raw(connection));
  connection.back_end.sending = true;
  sending_.emplace_back(&connection);
}

void UringPoller::collect(Duration wait) {
  enable();
  constexpr int64_t kSecond = 1'000'000'000;
  if (wait > Duration() && broken_.empty()) {
    __kernel_timespec limit = {wait.nanos() / kSecond, wait.nanos() % kSecond};
    io_uring_cqe* first = nullptr;
    const int result = io_uring_submit_and_wait_timeout(&ring_, &first, 1, &limit, nullptr);
    CHECK(result >= 0 || result == -ETIME || result == -EINTR || result == -EBUSY ||
          result == -EAGAIN);
  } else {
    const int result = io_uring_submit_and_get_events(&ring_);
    CHECK(result >= 0 || result == -EINTR || result == -EBUSY || result == -EAGAIN);
  }
  take_completions();
  submit_all();  // what an interrupted call left behind
  take_completions();
  for (const CountedPtr<Connection>& connection : sending_) {
    if (std::exchange(connection->back_end.sending, false))
      connection->sent(connection->out.size());
  }
  sending_.clear();
}

void UringPoller::take_completions() {
  do {
    unsigned head = 0;
    unsigned count = 0;
    io_uring_cqe* cqe = nullptr;
    io_uring_for_each_cqe(&ring_, head, cqe) {
      ++count;
      const Tag tag = static_cast<Tag>(cqe->user_data & kTagMask);
      void* target = reinterpret_cast<void*>(cqe->user_data & ~kTagMask);
      if (tag == Tag::kSend) {
        send_failed(*from_raw<Connection>(target), cqe->res);
      } else if (tag == Tag::kWake) {
        if (!(cqe->flags & IORING_CQE_F_MORE)) wake_watched_ = false;
      } else if (tag != Tag::kIgnored) {
        arrivals_.push_back(Arrival{tag, cqe->res, cqe->flags, target});
      }
    }
    io_uring_cq_advance(&ring_, count);
  } while (io_uring_cq_has_overflow(&ring_) && io_uring_get_events(&ring_) >= 0);
}

// A send that took less than all, nothing, or met an error. `sending_` keeps the connection.
void UringPoller::send_failed(Connection& connection, int32_t result) {
  connection.back_end.sending = false;
  if (result >= 0 || result == -EAGAIN || result == -ENOBUFS || result == -EINTR) {
    if (result > 0) connection.sent(static_cast<size_t>(result));
    connection.blocked = true;
    list_for_arming(connection);
    return;
  }
  // The connection is lost. Receiving reports what came before the loss, then the loss.
  connection.sent(connection.out.size());
  if (connection.paused) broken_.emplace_back(&connection, -result);
}

void UringPoller::dispatch() {
  for (const auto& [connection, number] : std::exchange(broken_, {})) {
    connection->deliver_close(number);
  }
  for (const Arrival& arrival : arrivals_) {
    switch (arrival.tag) {
      case Tag::kAccept: dispatch_accept(arrival); break;
      case Tag::kReceive: dispatch_receive(arrival); break;
      case Tag::kPoll:
      case Tag::kWatch: dispatch_poll(arrival); break;
      case Tag::kFile: {
        const std::unique_ptr<FileOp> operation = take(static_cast<FileOp*>(arrival.target));
        operation->result = arrival.result;
        operation->finish();
        break;
      }
      case Tag::kWake:
      case Tag::kSend:
      case Tag::kIgnored: UNREACHABLE("taken in collect()");
    }
  }
  arrivals_.clear();
}

void UringPoller::dispatch_accept(const Arrival& arrival) {
  const CountedPtr<Acceptor> acceptor(from_raw<Acceptor>(arrival.target));
  if (!(arrival.flags & IORING_CQE_F_MORE)) {
    drop(*acceptor);
    if (acceptor->fd >= 0) arming_acceptors_.push_back(acceptor);
  }
  if (arrival.result >= 0) {
    if (!acceptor->on_accept) {
      ::close(arrival.result);
      return;
    }
    // The callback may destroy its listener, and with it the callback itself.
    Callback<void(int)> callback = std::move(acceptor->on_accept);
    callback(arrival.result);
    if (acceptor->fd >= 0) acceptor->on_accept = std::move(callback);
    return;
  }
  // Out of descriptors: a caller left in the queue would end every wait at once.
  if ((arrival.result != -EMFILE && arrival.result != -ENFILE) || acceptor->fd < 0) return;
  if (spare_ >= 0) ::close(spare_);
  const int refused = accept4(acceptor->fd, nullptr, nullptr, SOCK_CLOEXEC);
  if (refused >= 0) ::close(refused);
  spare_ = open_spare();
}

void UringPoller::dispatch_receive(const Arrival& arrival) {
  const CountedPtr<Connection> connection(from_raw<Connection>(arrival.target));
  if (!(arrival.flags & IORING_CQE_F_MORE)) {
    connection->back_end.receiving = false;
    connection->back_end.cancelling = false;
    drop(*connection);
  }
  const bool has_buffer = arrival.flags & IORING_CQE_F_BUFFER;
  const unsigned id = arrival.flags >> IORING_CQE_BUFFER_SHIFT;
  if (arrival.result > 0) {
    CHECK(has_buffer);
    connection->deliver(
        ByteView(buffers_.get() + id * kBufferBytes, static_cast<size_t>(arrival.result)));
  }
  if (has_buffer) return_buffer(id);
  const bool lost =
      arrival.result == 0 || (arrival.result < 0 && arrival.result != -ENOBUFS &&
                              arrival.result != -ECANCELED && arrival.result != -EINTR);
  if (lost) {
    connection->deliver_close(-arrival.result);
  } else if (!connection->back_end.receiving && connection->fd >= 0 && !connection->paused) {
    list_for_arming(*connection);
  }
}

void UringPoller::dispatch_poll(const Arrival& arrival) {
  const CountedPtr<Connection> connection(from_raw<Connection>(arrival.target));
  drop(*connection);
  auto& state = connection->back_end;
  const bool broken = arrival.result < 0 || (arrival.result & (POLLERR | POLLHUP | POLLNVAL));
  if (arrival.tag == Tag::kWatch) {
    state.watching = false;
    if (connection->state != Connection::State::kOpen || !connection->paused) return;
    if (!broken) return list_for_arming(*connection);
    const int number = pending_error(connection->fd);
    return connection->deliver_close(number != 0 ? number : ECONNRESET);
  }
  state.polling = false;
  if (connection->state == Connection::State::kConnecting) {
    if (!connection->on_connected) return;
    Callback<void(int)> callback = std::move(connection->on_connected);
    return callback(arrival.result < 0 ? -arrival.result : pending_error(connection->fd));
  }
  if (connection->state != Connection::State::kOpen) return;
  connection->blocked = false;
  if (!connection->out.empty()) request_flush(*connection);
}

}  // namespace kahuna::net
