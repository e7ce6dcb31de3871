#!/usr/bin/env escript
%% A DTLS 1.2 peer on Erlang's ssl, for the interop tests. The server sends back "echo " and what it got; the client sends
%% every line of its input to each of its ports and says "PORT TEXT" of what comes back.
%%
%% usage: escript peer.escript server|client CERTIFICATE KEY CA PORT...

main([Role, Certificate, Key, CA | Ports]) ->
    logger:set_primary_config(level, error),
    {ok, _} = application:ensure_all_started(ssl),
    Common = [{protocol, dtls}, {versions, ['dtlsv1.2']}, {mode, binary}, {active, true},
              {certfile, Certificate}, {keyfile, Key}, {cacertfile, CA}, {verify, verify_peer}],
    io:format("ssl ~s of OTP ~s~n", [version(), erlang:system_info(otp_release)]),
    case Role of
        "server" -> serve(list_to_integer(hd(Ports)), Common);
        "client" -> connect([list_to_integer(Port) || Port <- Ports], Common)
    end.

version() -> {ok, Version} = application:get_key(ssl, vsn), Version.

serve(Port, Common) ->
    {ok, Listener} = ssl:listen(Port, [{ip, {127, 0, 0, 1}}, {fail_if_no_peer_cert, true} | Common]),
    io:format("listening~n"),
    accept(Listener).

accept(Listener) ->
    case ssl:transport_accept(Listener) of
        {ok, Socket} ->
            Worker = spawn(fun() -> receive go -> echo(ssl:handshake(Socket, 60000)) end end),
            _ = ssl:controlling_process(Socket, Worker),
            Worker ! go;
        {error, Reason} -> io:format("over: ~p~n", [Reason])
    end,
    accept(Listener).

echo({error, Reason}) -> io:format("over: ~p~n", [Reason]);
echo({ok, Socket}) ->
    receive
        {ssl, _, Text} -> ssl:send(Socket, ["echo ", Text]), echo({ok, Socket});
        {ssl_closed, _} -> io:format("closed~n");
        {ssl_error, _, Reason} -> io:format("over: ~p~n", [Reason])
    end.

connect(Ports, Common) ->
    Options = [{server_name_indication, "localhost"} | Common],
    Workers = [spawn(fun() -> client(Port, ssl:connect({127, 0, 0, 1}, Port, Options, 60000)) end) || Port <- Ports],
    input(Workers).

input(Workers) ->
    case io:get_line("") of
        eof -> ok;
        Line -> [Worker ! {send, Line} || Worker <- Workers], input(Workers)
    end.

client(Port, {error, Reason}) -> io:format("over: ~p ~p~n", [Port, Reason]);
client(Port, {ok, Socket}) ->
    receive
        {send, Line} -> ssl:send(Socket, Line), client(Port, {ok, Socket});
        {ssl, _, Text} -> io:format("~p ~s~n", [Port, string:trim(Text)]), client(Port, {ok, Socket});
        {ssl_closed, _} -> io:format("closed~n");
        {ssl_error, _, Reason} -> io:format("over: ~p~n", [Reason])
    end.
