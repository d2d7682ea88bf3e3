# Drives clients of Faye for Ruby, as Debian has it: reads a call a line from stdin, prints its answer.
#
# Calls and answers are those of driver.mjs, a line of JSON each.

require 'eventmachine'
require 'faye'
require 'json'

# Seconds that a call waits for what it waits for.
PATIENCE = 20

# What a client sent and got; what it has to say at its handshake goes in here, too.
class Diary
  attr_reader :heard, :sent, :replies
  attr_accessor :keeps_place

  def initialize(ext)
    @ext = ext
    @heard, @sent, @replies, @waiting = [], [], [], []
    @cursors = {}
  end

  def outgoing(message, callback)
    message['ext'] = @ext if message['channel'] == '/meta/handshake' && @ext
    cursor = @cursors[message['subscription']]
    if keeps_place && message['channel'] == '/meta/subscribe' && cursor
      message['ext'] = { 'cursor' => cursor }
    end
    add(@sent, message.dup) if message['channel'].start_with?('/meta/')
    callback.call(message)
  end

  def incoming(message, callback)
    cursor = (message['ext'] || {})['cursor']
    @cursors[message['channel']] = cursor if cursor
    add(@replies, message) if message['channel'].start_with?('/meta/')
    callback.call(message)
  end

  def add(list, entry)
    list << entry
    look
  end

  # Call the block once something is true of what is written here.
  def wait_until(is_true, &block)
    @waiting << [is_true, block]
    look
  end

  def look
    ready, @waiting = @waiting.partition { |is_true, _| is_true.call }
    ready.each { |_, block| block.call }
  end
end

# A client, and what it heard. Each call gives its answer to a block.
class Driven
  def initialize(call)
    @diary = Diary.new(call['ext'])
    # It tries again soon, so that a test need not wait for it.
    @client = Faye::Client.new(call['url'], retry: 0.2)
    @client.disable('websocket') if call['transport'] != 'websocket'
    @client.add_extension(@diary)
    @subscriptions = {}
  end

  # A refused handshake is tried again for ever: the reply is looked at.
  def open(_call, &answer)
    @client.connect
    @diary.wait_until(-> { @diary.replies.any? }) { answer.call(@diary.replies.first) }
  end

  def subscribe(call, &answer)
    replies = call['channels'].map { nil }
    call['channels'].each_with_index do |channel, index|
      hear = lambda do |from, data|
        @diary.add(@diary.heard, 'subscription' => channel, 'channel' => from, 'data' => data)
      end
      subscription = @subscriptions[channel] = @client.subscribe(channel).with_channel(&hear)
      told(subscription) do |reply|
        replies[index] = reply
        answer.call(replies) if replies.all?
      end
    end
  end

  def unsubscribe(call, &answer)
    @subscriptions.delete(call['channel']).cancel
    told = -> { of(@diary.replies, '/meta/unsubscribe').last }
    @diary.wait_until(told) { answer.call(told.call) }
  end

  def publish(call, &answer)
    told(@client.publish(call['channel'], call['data']), &answer)
  end

  def hear(call, &answer)
    # Each is looked at once, however many come.
    looked = 0
    has_come = lambda do
      new = @diary.heard.drop(looked)
      looked = @diary.heard.size
      new.any? { |each| [each['data']['text'], each['data']['type']].include?(call['until']) }
    end
    @diary.wait_until(has_come) { answer.call(@diary.heard.drop(call['after'])) }
  end

  def sent(call, &answer)
    has_come = -> { @diary.sent.any? { |each| each['connectionType'] == call['transport'] } }
    @diary.wait_until(has_come) { answer.call(of(@diary.sent, call['channel'])) }
  end

  def replies(call, &answer)
    wanted = call['count'] || of(@diary.replies, call['channel']).size + (call['more'] || 0)
    has_come = -> { of(@diary.replies, call['channel']).size >= wanted }
    @diary.wait_until(has_come) { answer.call(of(@diary.replies, call['channel'])) }
  end

  def keepPlace(call, &answer)
    @diary.keeps_place = call['keeps']
    answer.call(nil)
  end

  def close(_call, &answer)
    told(@client.disconnect, &answer)
  end

  private

  def of(messages, channel)
    messages.select { |each| each['channel'] == channel }
  end

  # How a call ended, in the form of a reply.
  def told(promise, &answer)
    promise.callback { answer.call('successful' => true) }
    promise.errback { |error| answer.call('successful' => false, 'error' => error.to_s) }
  end
end

# Reads the calls.
module Calls
  include EventMachine::Protocols::LineText2

  CLIENTS = {}

  def receive_line(line)
    call = JSON.parse(line)
    CLIENTS[call['client']] = Driven.new(call) if call['call'] == 'open'
    late = EventMachine.add_timer(PATIENCE) { say(call, 'error' => "#{call['call']} takes too long") }
    CLIENTS[call['client']].public_send(call['call'], call) do |result|
      EventMachine.cancel_timer(late)
      say(call, 'result' => result)
    end
  rescue StandardError => error
    say(call, 'error' => error.full_message)
  end

  def say(call, answer)
    puts JSON.generate({ 'id' => call['id'] }.merge(answer))
  end

  def unbind
    EventMachine.stop
  end
end

$stdout.sync = true
EventMachine.run { EventMachine.open_keyboard(Calls) }
