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
    # A server keeps the zone's own NS set, and its last record (RFC 2136 section 3.4.2.4): of
    # these the new ones come first, then the others go or get their new TTL, one by one.
    my $own_ns = sub { $_[0]{type} eq 'NS' && lc $_[0]{name} eq lc $zone };
    my ($former) = grep { $own_ns->($_) } @{ $asked->{former} };
    for my $set (grep { !$own_ns->($_) } @{ $asked->{former} }) {
        $script .= "update delete $set->{name}. $set->{type}\n";
    }
    for my $set (grep { !$own_ns->($_) } @{ $asked->{wanted} }) {
        $script .= "update add $set->{name}. $set->{ttl} $set->{type} $_\n" for @{ $set->{data} };
    }
    for my $set (grep { $own_ns->($_) } @{ $asked->{wanted} }) {
        my %had = map { lc $_ => 1 } @{ $former->{data} };
        my %want = map { lc $_ => 1 } @{ $set->{data} };
        my $add = "update add $set->{name}. $set->{ttl} NS";
        my $delete = "update delete $set->{name}. NS";
        $script .= "$add $_\n" for grep { !$had{ lc $_ } } @{ $set->{data} };
        for my $both (grep { $had{ lc $_ } } @{ $set->{data} }) {
            $script .= "$add $both\n" if $former->{ttl} != $set->{ttl};
        }
        $script .= "$delete $_\n" for grep { !$want{ lc $_ } } @{ $former->{data} };
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
