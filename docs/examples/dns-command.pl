#!/usr/bin/perl
# A command for `[[zone.authority]]` that drives a name server by `dig` and `nsupdate`: a pattern
# for your own provider. Segue starts it as
#
#     dns-command.pl ADDRESS PORT KEYFILE read      or      ... change
#
# writes one JSON object to its standard input and reads one from its standard output.
# Needs perl with JSON::PP (Debian: perl) and bind9-dnsutils.
use strict;
use warnings;
use JSON::PP;

my ($address, $port, $keyfile, $verb) = @ARGV;
die "usage: $0 ADDRESS PORT KEYFILE read|change\n" unless defined $verb;
my $asked = decode_json(do { local $/; <STDIN> });
my $zone = $asked->{zone};

if ($verb eq 'read') {
    open my $dig, '-|', 'dig', '-k', $keyfile, "\@$address", '-p', $port, '+noall', '+answer',
        '+onesoa', '+nosplit', '+time=5', '+tries=1', $zone, 'AXFR' or die "dig: $!\n";
    my (%sets, $serial);
    while (my $line = <$dig>) {
        next if $line =~ /^\s*(;|$)/;
        chomp $line;
        my ($name, $ttl, $class, $type, $data) = split /\s+/, $line, 5;
        $serial = (split / /, $data)[2] if $type eq 'SOA';
        my $set = $sets{"$name $type"} //=
            { name => $name, type => $type, ttl => $ttl + 0, data => [] };
        push @{ $set->{data} }, $data;
    }
    close $dig or die "dig failed\n";
    die "the zone has no SOA\n" unless defined $serial;
    print encode_json({ serial => $serial + 0, records => [values %sets] });
} elsif ($verb eq 'change') {
    my $script = "server $address $port\nzone $zone.\n";
    # Only if every set is as it was read, down to its data.
    for my $set (@{ $asked->{former} }) {
        my $name = "$set->{name}.";
        $script .= "prereq nxrrset $name $set->{type}\n" unless @{ $set->{data} };
        $script .= "prereq yxrrset $name $set->{type} $_\n" for @{ $set->{data} };
    }
    $script .= "update delete $_->{name}. $_->{type}\n" for @{ $asked->{former} };
    for my $set (@{ $asked->{wanted} }) {
        $script .= "update add $set->{name}. $set->{ttl} $set->{type} $_\n" for @{ $set->{data} };
    }
    $script .= "send\n";
    open my $out, '>&', \*STDERR or die "standard error: $!\n";
    my $pid = open my $update, '|-';
    die "fork: $!\n" unless defined $pid;
    if (!$pid) {
        open STDOUT, '>&', \*STDERR;
        exec 'nsupdate', '-k', $keyfile or die "nsupdate: $!\n";
    }
    print $update $script;
    # nsupdate ends with 2 if the server refuses: a prerequisite that does not hold, as a rule.
    close $update or exit(($? >> 8) == 2 ? 3 : 1);
} else {
    die "read or change, not $verb\n";
}
