// SPDX-License-Identifier: Apache-2.0
// Bytes here are written out by hand from containerd/ttrpc, PROTOCOL.md: two ends of our own that agree with
// each other would prove nothing.
#include "fairlead/rpc/ttrpc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <initializer_list>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "fairlead/core/mutex.h"

namespace fairlead::rpc {
namespace {

using std::chrono::steady_clock;
using testing::ElementsAre;
using testing::HasSubstr;

steady_clock::time_point soon() { return steady_clock::now() + std::chrono::seconds(30); }
constexpr auto kNever = steady_clock::time_point::max();

std::string bytes(std::initializer_list<int> values) {
  std::string out;
  for (const int value : values) {
    out.push_back(static_cast<char>(value));
  }
  return out;
}

/// A message: length, stream (both big-endian), type, flags, body.
std::string message(std::uint32_t stream, int type, const std::string& body, int flags = 0) {
  const auto octet = [](std::size_t value, unsigned shift) {
    return static_cast<int>((value >> shift) & 0xFFU);
  };
  const std::size_t n = body.size();
  return bytes({octet(n, 24), octet(n, 16), octet(n, 8), octet(n, 0), octet(stream, 24), octet(stream, 16),
                octet(stream, 8), octet(stream, 0), type, flags}) +
         body;
}

// Request{service: "s", method: "m", payload: "p"}; Response{payload: "p"}
const std::string kRequestBody = bytes({0x0A, 1, 's', 0x12, 1, 'm', 0x1A, 1, 'p'});
const std::string kResponseBody = bytes({0x12, 1, 'p'});

/// Response{status: {code, message: text}}
std::string error_body(int code, const std::string& text) {
  const std::string status = bytes({0x08, code, 0x12, static_cast<int>(text.size())}) + text;
  return bytes({0x0A, static_cast<int>(status.size())}) + status;
}

/// Collects what an end sends.
class Wire {
 public:
  std::function<Result<>(std::string_view)> end() {
    return [this](std::string_view sent) -> Result<> {
      const Lock lock(mutex_);
      if (broken_) {
        return Error(Code::kInternal, "no wire");
      }
      sent_.emplace_back(sent);
      changed_.notify_all();
      return {};
    };
  }
  void cut() {
    const Lock lock(mutex_);
    broken_ = true;
  }
  std::vector<std::string> sent() {
    const Lock lock(mutex_);
    return sent_;
  }
  std::string wait_for(std::size_t count) {
    const Lock lock(mutex_);
    while (sent_.size() < count) {
      if (changed_.wait_until(mutex_, soon()) == std::cv_status::timeout) {
        ADD_FAILURE() << "only " << sent_.size() << " messages were sent";
        return {};
      }
    }
    return sent_[count - 1];
  }

 private:
  Mutex mutex_;
  ConditionVariable changed_;
  bool broken_ FL_GUARDED_BY(mutex_) = false;
  std::vector<std::string> sent_ FL_GUARDED_BY(mutex_);
};

/// A server that keeps its requests for the test to answer.
class TtrpcServer : public testing::Test {
 protected:
  Wire wire;
  std::vector<TtrpcRequest> requests;
  std::vector<TtrpcReply> replies;
  Ttrpc server{{.send = wire.end(), .handler = [this](TtrpcRequest request, TtrpcReply reply) {
                  requests.push_back(std::move(request));
                  replies.push_back(std::move(reply));
                }}};
};

class TtrpcClient : public testing::Test {
 protected:
  std::future<Result<std::string>> call(steady_clock::time_point deadline = kNever) {
    return std::async(std::launch::async, [this, deadline] { return client.call("s", "m", "p", deadline); });
  }
  Wire wire;
  Ttrpc client{{.send = wire.end(), .handler = {}}};
};

// ---- serving ----------------------------------------------------------------------------------------------

TEST_F(TtrpcServer, Request_IsHandedOnAndItsAnswerHasTheSameStream) {
  ASSERT_TRUE(server.receive(message(1, 1, kRequestBody)));
  ASSERT_EQ(requests.size(), 1U);
  EXPECT_EQ(requests[0].service, "s");
  EXPECT_EQ(requests[0].method, "m");
  EXPECT_EQ(requests[0].payload, "p");
  EXPECT_EQ(requests[0].deadline, kNever);
  EXPECT_TRUE(replies[0](std::string("p")));
  EXPECT_THAT(wire.sent(), ElementsAre(message(1, 2, kResponseBody)));
}

TEST_F(TtrpcServer, EmptyAnswer_IsAMessageWithoutBody) {
  ASSERT_TRUE(server.receive(message(1, 1, kRequestBody)));
  EXPECT_TRUE(replies.at(0)(std::string()));
  EXPECT_THAT(wire.sent(), ElementsAre(message(1, 2, "")));
}

TEST_F(TtrpcServer, EmptyRequest_IsServed) {
  ASSERT_TRUE(server.receive(message(1, 1, "")));
  EXPECT_EQ(requests.size(), 1U);
}

TEST_F(TtrpcServer, BytesInAnyPortions_MakeTheSameRequests) {
  const std::string all = message(1, 1, kRequestBody) + message(3, 1, "") + message(5, 1, kRequestBody);
  for (const char byte : all) {
    ASSERT_TRUE(server.receive({&byte, 1}));
  }
  EXPECT_EQ(requests.size(), 3U);
  EXPECT_EQ(requests.at(2).payload, "p");
}

TEST_F(TtrpcServer, TimeoutNano_IsTheDeadline) {
  const auto before = steady_clock::now();
  // timeout_nano = 1000000000
  ASSERT_TRUE(server.receive(message(1, 1, bytes({0x20, 0x80, 0x94, 0xEB, 0xDC, 0x03}))));
  EXPECT_GE(requests.at(0).deadline, before + std::chrono::seconds(1));
  EXPECT_LE(requests.at(0).deadline, steady_clock::now() + std::chrono::seconds(1));
}

TEST_F(TtrpcServer, HandlersError_IsAStatus) {
  ASSERT_TRUE(server.receive(message(1, 1, kRequestBody) + message(3, 1, kRequestBody)));
  EXPECT_TRUE(replies.at(0)(Error(Code::kUnsupported, "no m")));
  EXPECT_TRUE(replies.at(1)(Error(Code::kInternal, "bad")));
  EXPECT_THAT(wire.sent(),
              ElementsAre(message(1, 2, error_body(12, "no m")), message(3, 2, error_body(13, "bad"))));
}

TEST_F(TtrpcServer, SecondAnswer_GoesNowhere) {
  ASSERT_TRUE(server.receive(message(1, 1, kRequestBody)));
  EXPECT_TRUE(replies.at(0)(std::string("p")));
  EXPECT_FALSE(replies.at(0)(std::string("q")));
  EXPECT_EQ(wire.sent().size(), 1U);
}

TEST_F(TtrpcServer, AnswersOutOfOrder_AreSent) {
  ASSERT_TRUE(server.receive(message(1, 1, kRequestBody) + message(3, 1, kRequestBody)));
  EXPECT_TRUE(replies.at(1)(std::string("p")));
  EXPECT_TRUE(replies.at(0)(std::string("p")));
  EXPECT_THAT(wire.sent(), ElementsAre(message(3, 2, kResponseBody), message(1, 2, kResponseBody)));
}

TEST_F(TtrpcServer, EvenStream_IsInvalid) {
  ASSERT_TRUE(server.receive(message(2, 1, kRequestBody) + message(4, 1, "") + message(1, 1, kRequestBody)));
  EXPECT_EQ(requests.size(), 1U);
  EXPECT_THAT(wire.sent(), ElementsAre(message(2, 2, error_body(3, "stream 2 has an even number")),
                                       message(4, 2, error_body(3, "stream 4 has an even number"))));
}

TEST_F(TtrpcServer, ReusedStream_IsInvalid) {
  ASSERT_TRUE(server.receive(message(5, 1, kRequestBody) + message(5, 1, kRequestBody) + message(3, 1, "")));
  EXPECT_EQ(requests.size(), 1U);
  EXPECT_THAT(wire.sent(), ElementsAre(message(5, 2, error_body(3, "stream 5 was used before")),
                                       message(3, 2, error_body(3, "stream 3 was used before"))));
}

TEST_F(TtrpcServer, OversizedRequest_IsRefusedAndSkipped) {
  const std::string huge(kTtrpcMaxBody + 1, 'x');
  ASSERT_TRUE(server.receive(message(1, 1, huge)));
  ASSERT_TRUE(server.receive(message(3, 1, kRequestBody)));
  EXPECT_EQ(requests.size(), 1U);
  ASSERT_EQ(wire.sent().size(), 1U);
  const std::string answer = wire.sent()[0];
  EXPECT_EQ(answer.substr(4, 6), bytes({0, 0, 0, 1, 2, 0}));
  EXPECT_EQ(answer.substr(12, 2), bytes({0x08, 8}));  // ResourceExhausted, after the tag and length of status
  EXPECT_THAT(answer, HasSubstr("4194305 bytes; ttrpc allows 4194304"));
}

TEST_F(TtrpcServer, OversizedAnswer_BecomesAnError) {
  ASSERT_TRUE(server.receive(message(1, 1, kRequestBody)));
  EXPECT_TRUE(replies.at(0)(std::string(kTtrpcMaxBody, 'x')));
  EXPECT_THAT(wire.sent().at(0), HasSubstr("the answer has 4194309 bytes"));
}

TEST_F(TtrpcServer, StreamsAndData_AreRefused) {
  ASSERT_TRUE(server.receive(message(1, 1, kRequestBody, 2) + message(9, 3, "data")));
  EXPECT_EQ(requests.size(), 0U);
  EXPECT_THAT(wire.sent(), ElementsAre(message(1, 2, error_body(12, "this server takes no streams")),
                                       message(9, 2, error_body(3, "there is no stream 9"))));
}

TEST_F(TtrpcServer, UnknownTypesAndAnswers_AreIgnored) {
  ASSERT_TRUE(
      server.receive(message(1, 77, "?") + message(1, 2, kResponseBody) + message(1, 1, kRequestBody)));
  EXPECT_EQ(requests.size(), 1U);
  EXPECT_TRUE(wire.sent().empty());
}

TEST_F(TtrpcServer, BodyThatIsNoRequest_IsInvalid) {
  ASSERT_TRUE(server.receive(message(1, 1, "\xff\xff")));
  EXPECT_THAT(wire.sent(), ElementsAre(message(1, 2, error_body(3, "the message is no ttrpc request"))));
}

TEST_F(TtrpcServer, StreamOutOfStep_IsAnError) {
  const auto got = server.receive(std::string(10, '\xff'));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code(), Code::kCorrupt);
  EXPECT_THAT(got.error().what(), HasSubstr("out of step"));
}

TEST_F(TtrpcServer, AnswerAfterClose_GoesNowhere) {
  ASSERT_TRUE(server.receive(message(1, 1, kRequestBody)));
  server.close();
  EXPECT_FALSE(replies.at(0)(std::string("p")));
  EXPECT_TRUE(wire.sent().empty());
}

TEST(Ttrpc, AnswerAfterTheEndpointIsGone_GoesNowhere) {
  Wire wire;
  TtrpcReply kept;
  {
    Ttrpc server({.send = wire.end(),
                  .handler = [&](const TtrpcRequest&, TtrpcReply reply) { kept = std::move(reply); }});
    ASSERT_TRUE(server.receive(message(1, 1, kRequestBody)));
  }
  EXPECT_FALSE(kept(std::string("p")));
}

TEST_F(TtrpcServer, DamagedMessages_AreSurvived) {
  std::minstd_rand random(1);
  const std::string good = message(1, 1, kRequestBody) + message(3, 3, "data") +
                           message(5, 2, kResponseBody) +
                           message(7, 1, bytes({0x20, 0x80, 0x94, 0xEB, 0xDC, 0x03}));
  for (int i = 0; i < 5'000; ++i) {
    std::string damaged = good;
    for (int n = 0; n < 3; ++n) {
      damaged[random() % damaged.size()] = static_cast<char>(random());
    }
    Wire aside;
    Ttrpc endpoint({.send = aside.end(), .handler = [](const TtrpcRequest&, const TtrpcReply& reply) {
                      (void)reply(std::string());
                    }});
    (void)endpoint.receive(damaged);  // whatever it says, the sanitizers have nothing to say
  }
}

// ---- calling ----------------------------------------------------------------------------------------------

TEST_F(TtrpcClient, Call_SendsOddStreamsInOrderAndReturnsTheAnswer) {
  auto first = call();
  EXPECT_EQ(wire.wait_for(1), message(1, 1, kRequestBody));
  auto second = call();
  EXPECT_EQ(wire.wait_for(2), message(3, 1, kRequestBody));
  ASSERT_TRUE(client.receive(message(3, 2, bytes({0x12, 1, '3'})) + message(1, 2, bytes({0x12, 1, '1'}))));
  EXPECT_EQ(*first.get(), "1");
  EXPECT_EQ(*second.get(), "3");
}

TEST_F(TtrpcClient, ManyCallsAtOnce_GoOutWithGrowingStreams) {
  std::vector<std::future<Result<std::string>>> calls;
  calls.reserve(50);
  for (int i = 0; i < 50; ++i) {
    calls.push_back(call());
  }
  (void)wire.wait_for(50);
  const auto sent = wire.sent();
  for (std::uint32_t i = 0; i < 50; ++i) {
    EXPECT_EQ(sent.at(i), message(2 * i + 1, 1, kRequestBody));
    ASSERT_TRUE(client.receive(message(2 * i + 1, 2, "")));
  }
  for (auto& one : calls) {
    EXPECT_TRUE(one.get());
  }
}

TEST_F(TtrpcClient, Status_BecomesAnErrorWithItsText) {
  auto waiting = call();
  (void)wire.wait_for(1);
  ASSERT_TRUE(client.receive(message(1, 2, error_body(12, "no m"))));
  const auto answer = waiting.get();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), Code::kUnsupported);
  EXPECT_EQ(answer.error().what(), "no m");
}

TEST_F(TtrpcClient, StatusOfATimeout_IsNotTakenForOneOfTheConnection) {
  for (const int status : {4, 14, 15}) {
    const std::size_t before = wire.sent().size();
    auto waiting = call();
    const std::string sent = wire.wait_for(before + 1);
    const auto stream = static_cast<std::uint32_t>(static_cast<unsigned char>(sent.at(7)));
    ASSERT_TRUE(client.receive(message(stream, 2, error_body(status, "late"))));
    EXPECT_EQ(waiting.get().error().code(), Code::kInternal);
  }
}

TEST_F(TtrpcClient, StatusWithCodeZero_IsASuccess) {
  auto waiting = call();
  (void)wire.wait_for(1);
  ASSERT_TRUE(client.receive(message(1, 2, bytes({0x0A, 0}) + kResponseBody)));
  EXPECT_EQ(*waiting.get(), "p");
}

TEST_F(TtrpcClient, NoAnswer_TimesOutAndALateOneIsIgnored) {
  EXPECT_EQ(call(steady_clock::now() + std::chrono::milliseconds(20)).get().error().code(), Code::kTimeout);
  ASSERT_TRUE(client.receive(message(1, 2, kResponseBody)));
  auto next = call();
  (void)wire.wait_for(2);
  ASSERT_TRUE(client.receive(message(3, 2, kResponseBody)));
  EXPECT_EQ(*next.get(), "p");
}

TEST_F(TtrpcClient, Deadline_IsToldToTheServer) {
  auto waiting = call(soon());
  const std::string sent = wire.wait_for(1);
  ASSERT_GT(sent.size(), 10 + kRequestBody.size());
  EXPECT_EQ(sent.substr(10, kRequestBody.size()), kRequestBody);
  EXPECT_EQ(sent[10 + kRequestBody.size()], 0x20);  // field 4, varint
  client.close();
  EXPECT_FALSE(waiting.get());
}

TEST_F(TtrpcClient, DeadlineThatPassed_SendsNothing) {
  EXPECT_EQ(call(steady_clock::now() - std::chrono::seconds(1)).get().error().code(), Code::kTimeout);
  EXPECT_TRUE(wire.sent().empty());
}

TEST_F(TtrpcClient, Close_FailsCallsThatWaitAndThoseThatFollow) {
  auto waiting = call();
  (void)wire.wait_for(1);
  client.close();
  EXPECT_EQ(waiting.get().error().code(), Code::kUnavailable);
  EXPECT_EQ(call().get().error().code(), Code::kUnavailable);
}

TEST_F(TtrpcClient, WireThatIsCut_IsUnavailable) {
  wire.cut();
  EXPECT_EQ(call().get().error().code(), Code::kUnavailable);
}

TEST_F(TtrpcClient, OversizedCall_IsRefusedAndSendsNothing) {
  const auto got = client.call("s", "m", std::string(kTtrpcMaxBody, 'x'), kNever);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code(), Code::kInvalid);
  EXPECT_THAT(got.error().what(), HasSubstr("ttrpc allows 4194304"));
  EXPECT_TRUE(wire.sent().empty());
}

TEST_F(TtrpcClient, LargestCall_IsSent) {
  // service and method: 3 bytes each; payload: a tag and a length of 4 bytes
  auto waiting = std::async(std::launch::async, [&] {
    return client.call("s", "m", std::string(kTtrpcMaxBody - 11, 'x'), kNever);
  });
  EXPECT_EQ(wire.wait_for(1).size(), kTtrpcHeader + kTtrpcMaxBody);
  client.close();
  EXPECT_FALSE(waiting.get());
}

TEST_F(TtrpcClient, AnswersThatMakeNoSense_FailTheirCallOnly) {
  auto garbage = call();
  (void)wire.wait_for(1);
  auto data = call();
  (void)wire.wait_for(2);
  auto huge = call();
  (void)wire.wait_for(3);
  auto good = call();
  (void)wire.wait_for(4);
  ASSERT_TRUE(client.receive(message(1, 2, "\xff\xff")));
  ASSERT_TRUE(client.receive(message(3, 3, "data")));
  ASSERT_TRUE(client.receive(message(5, 2, std::string(kTtrpcMaxBody + 1, 'x'))));
  ASSERT_TRUE(client.receive(message(7, 2, kResponseBody)));
  EXPECT_EQ(garbage.get().error().code(), Code::kCorrupt);
  EXPECT_EQ(data.get().error().code(), Code::kCorrupt);
  EXPECT_EQ(huge.get().error().code(), Code::kCorrupt);
  EXPECT_EQ(*good.get(), "p");
}

TEST_F(TtrpcClient, Requests_AreIgnored) {
  ASSERT_TRUE(client.receive(message(1, 1, kRequestBody) + message(2, 1, kRequestBody)));
  EXPECT_TRUE(wire.sent().empty());
}

TEST(TtrpcStatus, Codes_SurviveTheWay) {
  for (const Code code :
       {Code::kInvalid, Code::kNotFound, Code::kExists, Code::kConflict, Code::kDenied, Code::kUnavailable,
        Code::kTimeout, Code::kCancelled, Code::kUnsupported, Code::kInternal}) {
    EXPECT_EQ(from_grpc_status(to_grpc_status(code)), code) << to_string(code);
  }
  EXPECT_EQ(to_grpc_status(Code::kUnsupported), 12);
  EXPECT_EQ(from_grpc_status(2), Code::kInternal);
  EXPECT_EQ(from_grpc_status(-5), Code::kInternal);
  EXPECT_EQ(from_grpc_status(999), Code::kInternal);
}

}  // namespace
}  // namespace fairlead::rpc
