// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/socket.h"

#include <algorithm>
#include <cerrno>

#include "fairlead/sys/netlink/request_text.h"

namespace fairlead::netlink {

Result<std::optional<std::int32_t>> Socket::netnsid_of(int netns) {
  auto request = Batch::make("ask for the number of a network namespace", codec::get_netnsid(netns));
  std::optional<std::int32_t> number;
  FL_ASSIGN(const codec::Answer answer, ask(request, [&](const codec::Message& message) {
              number = codec::read_netnsid(message);
              return number.has_value();
            }));
  if (answer.error != 0) {
    return refusal(request.what, answer);
  }
  return number && *number >= 0 ? number : std::nullopt;
}

Result<std::int32_t> Socket::number_netns(int netns) {
  FL_ASSIGN(auto number, netnsid_of(netns));
  if (!number) {
    Batch batch;
    batch.requests_.push_back(Batch::make("give a network namespace a number", codec::give_netnsid(netns)));
    batch.requests_.back().fine = {EEXIST};  // somebody was faster
    FL_TRY(run(std::move(batch)));
    FL_ASSIGN(number, netnsid_of(netns));
  }
  return number ? Result<std::int32_t>(*number)
                : Error(Code::kInternal, "the kernel gave a network namespace no number");
}

Result<std::optional<Link>> Socket::get_link(Batch::Request request) {
  std::optional<Link> link;
  FL_ASSIGN(const codec::Answer answer, ask(request, [&](const codec::Message& message) {
              link = codec::read_link(message);
              return link.has_value();
            }));
  if (answer.error != 0 && answer.error != ENODEV) {
    return refusal(request.what, answer);
  }
  return link;
}

Result<std::vector<Link>> Socket::links() {
  std::vector<Link> all;
  FL_TRY(dump(
      Batch::make("list links", codec::dump_links()), [&] { all.clear(); },
      [&](const codec::Message& message) {
        if (auto link = codec::read_link(message)) {
          all.push_back(std::move(*link));
        }
      }));
  return all;
}

Result<std::optional<Link>> Socket::link(IfIndex index) {
  return get_link(Batch::make("look up " + text_of(index), codec::get_link(index)));
}

Result<std::optional<Link>> Socket::link(std::string_view name) {
  return get_link(
      Batch::make("look up link \"" + std::string(name.substr(0, 64)) + "\"", codec::get_link(name)));
}

Result<> Socket::create_link(const NewLink& link) {
  Batch batch;
  batch.requests_.push_back(Batch::make(text_of(link), codec::create_link(link)));
  FL_TRY(run(std::move(batch)));
  auto done = finish_birth(link);
  if (!done) {
    take_back(link);
  }
  return done;
}

Result<> Socket::finish_birth(const NewLink& link) {
  if (!link.alias.empty()) {
    FL_TRY(change_in(link.netns, link.name, {.alias = link.alias}), text_of(link) + ": set its alias");
  }
  if (const VethPeer* peer = kinds::peer_to_set_up(link.kind)) {
    FL_TRY(change_in(peer->netns, peer->name, {.up = true}),
           text_of(link) + ": set its peer " + peer->name + " up");
  }
  return {};
}

Result<> Socket::change_in(std::optional<int> netns, const std::string& name, const LinkChange& change) {
  std::optional<Socket> over_there;
  if (netns) {
    FL_ASSIGN(over_there, open_in(*netns));
  }
  Batch batch;
  batch.requests_.push_back(Batch::make("link " + name, codec::change_link(name, change)));
  return (over_there ? *over_there : *this).run(std::move(batch));
}

void Socket::take_back(const NewLink& link) {
  std::optional<Socket> over_there;
  if (link.netns) {
    auto opened = open_in(*link.netns);
    if (!opened) {
      return;
    }
    over_there = std::move(*opened);
  }
  Socket& there = over_there ? *over_there : *this;
  if (const auto born = there.link(link.name).value_or(std::nullopt)) {
    (void)there.delete_link(born->index);
  }
}

Result<> Socket::add_altname(IfIndex link, const std::string& altname) {
  Batch batch;
  return run(std::move(batch.add_altname(link, altname)));
}

Result<> Socket::delete_altname(IfIndex link, const std::string& altname) {
  Batch batch;
  return run(std::move(batch.delete_altname(link, altname)));
}

Result<> Socket::change_link(IfIndex link, const LinkChange& change) {
  Batch batch;
  return run(std::move(batch.change_link(link, change)));
}

Result<> Socket::delete_link(IfIndex link) {
  Batch batch;
  return run(std::move(batch.delete_link(link)));
}

Result<Link> Socket::move_link(const MoveLink& move) {
  FL_ASSIGN(const auto before, link(move.link));
  if (!before) {
    return Error(Code::kNotFound, "move " + text_of(move.link) + ": there is no such link", ENODEV);
  }
  const std::string name = move.new_name.empty() ? before->name : move.new_name;
  const std::string what = "move link " + before->name + " to another network namespace as " + name;
  FL_ASSIGN(Socket target, open_in(move.netns), what);
  FL_ASSIGN(const auto taken, target.link(name), what);
  if (taken) {
    return Error(Code::kExists, what + ": a link of that name is there already", EEXIST);
  }
  auto request = Batch::make(what, codec::move_link(move));
  if (request.refused) {
    return std::move(*request.refused).with(what);
  }
  const auto answers = exchange(std::span(&request, 1));
  if (!answers) {
    return take_home(*before, move, Error(answers.error()).with(what), target);
  }
  if (answers->front().error != 0) {
    Error error = refusal(what, answers->front());
    if (answers->front().error == EEXIST && answers->front().text.empty()) {
      error = name_the_taken_altname(std::move(error), *before, target);
    }
    return take_home(*before, move, std::move(error), target);
  }
  FL_ASSIGN(auto after, target.link(name), what);
  if (!after) {
    return Error(Code::kConflict, what + ": it was moved, but is not there any more");
  }
  return std::move(*after);
}

Error Socket::name_the_taken_altname(Error error, const Link& moving, Socket& target) {
  for (const std::string& altname : moving.altnames) {
    const auto taken = target.link(altname);
    if (taken && *taken) {
      return {error.code(), error.what() + ": its altname " + altname + " belongs to a link there",
              error.sys_errno()};
    }
  }
  return error;
}

Error Socket::take_home(const Link& before, const MoveLink& move, Error error, Socket& target) {
  const auto is_it = [&](const Link& link) {
    return link.mac == before.mac && link.kind == before.kind &&
           (link.name == before.name || link.name == move.new_name);
  };
  const auto here = link(before.index).value_or(std::nullopt);
  if (here && is_it(*here)) {
    return error;
  }
  const auto there = target.links();
  if (!there) {
    return {error.code(), error.what() + "; where it is now is not known: " + there.error().what(),
            error.sys_errno()};
  }
  const auto found = std::ranges::find_if(*there, is_it);
  if (found == there->end()) {
    return {error.code(), error.what() + "; it is in neither namespace now", error.sys_errno()};
  }
  const auto back = bring_back(*found, before, target);
  return {error.code(),
          error.what() + (back ? "; it had left already and was moved back, without its addresses and routes"
                               : "; it is there now as " + found->name +
                                     " and cannot be moved back: " + back.error().what()),
          error.sys_errno()};
}

Result<> Socket::bring_back(const Link& stray, const Link& before, Socket& target) {
  FL_ASSIGN(const UniqueFd home, netns());
  auto request =
      Batch::make("move link " + stray.name + " back",
                  codec::move_link({.link = stray.index,
                                    .netns = home.get(),
                                    .new_name = stray.name == before.name ? std::string() : before.name}));
  Batch batch;
  batch.requests_.push_back(std::move(request));
  FL_TRY(target.run(std::move(batch)));
  FL_ASSIGN(const auto after, link(before.name));
  return after && before.is_up() ? set_up(after->index) : Result<>();
}

}  // namespace fairlead::netlink
