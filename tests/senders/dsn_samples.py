"""Bounces in the manner of the servers that customers' mail ends at. ``LINK`` stands for a link of ours."""

from __future__ import annotations

LINK = "https://hooks.example/v1/unsubscribe/TOKEN"

RETURNED = f"""\
Return-Path: <shop@acme.example>
From: Acme <shop@acme.example>
To: Ann Smith <ann@mail.example>
Subject: Your order is ready
Date: Tue, 07 Apr 2026 10:00:00 +0000
Message-ID: <0123456789abcdef0123456789abcdef@carillon.example>
List-Unsubscribe: <{LINK}>
List-Unsubscribe-Post: List-Unsubscribe=One-Click
MIME-Version: 1.0
Content-Type: text/plain; charset="utf-8"
"""

POSTFIX = f"""\
Return-Path: <>
Received: by relay.acme.example (Postfix) id 4ABCDE; Tue,  7 Apr 2026 10:00:03 +0000 (UTC)
Date: Tue,  7 Apr 2026 10:00:03 +0000 (UTC)
From: MAILER-DAEMON@relay.acme.example (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: shop@acme.example
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="4ABCDE.1775556003/relay.acme.example"
Message-Id: <20260407100003.4ABCDE@relay.acme.example>

This is a MIME-encapsulated message.

--4ABCDE.1775556003/relay.acme.example
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host relay.acme.example.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

<ann@mail.example>: host mx.mail.example[192.0.2.7] said: 550 5.1.1
    <ann@mail.example>: Recipient address rejected: User unknown in virtual
    mailbox table (in reply to RCPT TO command)

--4ABCDE.1775556003/relay.acme.example
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.acme.example
X-Postfix-Queue-ID: 4ABCDE
X-Postfix-Sender: rfc822; shop@acme.example
Arrival-Date: Tue,  7 Apr 2026 10:00:01 +0000 (UTC)

Final-Recipient: rfc822; ann@mail.example
Original-Recipient: rfc822;ann@mail.example
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.mail.example
Diagnostic-Code: smtp; 550 5.1.1 <ann@mail.example>: Recipient address
    rejected: User unknown in virtual mailbox table

--4ABCDE.1775556003/relay.acme.example
Content-Description: Undelivered Message
Content-Type: message/rfc822

{RETURNED}
Hello Ann, it is ready.

--4ABCDE.1775556003/relay.acme.example--
"""

POSTFIX_HEADERS = POSTFIX.replace("Content-Type: message/rfc822\n", "Content-Type: text/rfc822-headers\n")
"""``bounce_size_limit``: only the headers come back."""

POSTFIX_DELAYED = POSTFIX.replace("Action: failed", "Action: delayed").replace(
    "Status: 5.1.1", "Status: 4.4.1"
)

POSTFIX_FULL = POSTFIX.replace("5.1.1", "5.2.2").replace(
    "User unknown in virtual mailbox table", "mailbox over quota"
)

POSTFIX_EXPIRED = (
    POSTFIX.replace("Status: 5.1.1", "Status: 4.4.1")
    .replace("smtp; 550 5.1.1", "X-Postfix; connect to mx.mail.example:")
    .replace("rejected: User unknown in virtual mailbox table", "Connection timed out")
)

EXIM = f"""\
Return-path: <>
Received: from Debian-exim by mx.acme.example with local (Exim 4.96)
\tid 1pABCD-0001; Tue, 07 Apr 2026 10:00:02 +0000
X-Failed-Recipients: ann@mail.example
Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@mx.acme.example>
To: shop@acme.example
References: <0123456789abcdef0123456789abcdef@carillon.example>
Content-Type: multipart/report; report-type=delivery-status; boundary=1775556002-eximdsn-1
MIME-Version: 1.0
Subject: Mail delivery failed: returning message to sender
Message-Id: <E1pABCD-0001-Ab@mx.acme.example>
Date: Tue, 07 Apr 2026 10:00:02 +0000

--1775556002-eximdsn-1
Content-type: text/plain; charset=us-ascii

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  ann@mail.example
    host mx.mail.example [192.0.2.7]
    SMTP error from remote mail server after RCPT TO:<ann@mail.example>:
    550 No Such User Here

--1775556002-eximdsn-1
Content-type: message/delivery-status

Reporting-MTA: dns; mx.acme.example

Action: failed
Final-Recipient: rfc822;ann@mail.example
Status: 5.0.0
Remote-MTA: dns; mx.mail.example
Diagnostic-Code: smtp; 550 No Such User Here

--1775556002-eximdsn-1
Content-type: message/rfc822

{RETURNED}
Hello Ann, it is ready.

--1775556002-eximdsn-1--
"""

EXIM_LETTER = f"""\
Return-path: <>
X-Failed-Recipients: ann@mail.example
Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@mx.acme.example>
To: shop@acme.example
Subject: Mail delivery failed: returning message to sender
Message-Id: <E1pABCD-0001-Ab@mx.acme.example>
Date: Tue, 07 Apr 2026 10:00:02 +0000

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  ann@mail.example
    SMTP error from remote mail server after RCPT TO:<ann@mail.example>:
    host mx.mail.example [192.0.2.7]: 550 5.1.1 <ann@mail.example>:
    no mailbox here by that name

------ This is a copy of the message, including all the headers. ------

{RETURNED}
Hello Ann, it is ready.
"""

EXCHANGE = f"""\
Received: from MAIL01.mail.example (192.0.2.9) by MAIL02.mail.example with Microsoft SMTP Server
From: <postmaster@mail.example>
To: <shop@acme.example>
Date: Tue, 7 Apr 2026 10:00:05 +0000
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="c3b1f0c7-8ed1-4ce2-8f0a-6d4f2a1b9c55"
X-MS-Exchange-Message-Is-Ndr:
Content-Language: en-US
Message-ID: <c3b1f0c7-8ed1-4ce2-8f0a-6d4f2a1b9c55@MAIL02.mail.example>
In-Reply-To: <0123456789abcdef0123456789abcdef@carillon.example>
Subject: Undeliverable: Your order is ready
Auto-Submitted: auto-replied

--c3b1f0c7-8ed1-4ce2-8f0a-6d4f2a1b9c55
Content-Type: multipart/alternative; differences=Content-Type;
\tboundary="inner-1"

--inner-1
Content-Type: text/plain; charset="us-ascii"
Content-Transfer-Encoding: quoted-printable

Delivery has failed to these recipients or groups:

ann@mail.example<mailto:ann@mail.example>
The email address you entered couldn't be found.

--inner-1
Content-Type: text/html; charset="us-ascii"
Content-Transfer-Encoding: quoted-printable

<html><body><p><b>Delivery has failed to these recipients or groups:</b></p></body></html>

--inner-1--

--c3b1f0c7-8ed1-4ce2-8f0a-6d4f2a1b9c55
Content-Type: message/delivery-status

Reporting-MTA: dns;MAIL02.mail.example
Received-From-MTA: dns;relay.acme.example
Arrival-Date: Tue, 7 Apr 2026 10:00:04 +0000

Original-Recipient: rfc822;ann@mail.example
Final-Recipient: rfc822;ann@mail.example
Action: failed
Status: 5.1.10
Diagnostic-Code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup
X-Display-Name: ann@mail.example

--c3b1f0c7-8ed1-4ce2-8f0a-6d4f2a1b9c55
Content-Type: message/rfc822

{RETURNED}
Hello Ann, it is ready.

--c3b1f0c7-8ed1-4ce2-8f0a-6d4f2a1b9c55--
"""

GMAIL = f"""\
Received: by 2002:a05:7300:1234:b0:12:3456:789a with SMTP id abc; Tue, 07 Apr 2026 03:00:04 -0700 (PDT)
Content-Type: multipart/report; boundary="0000000000001234"; report-type=delivery-status
To: shop@acme.example
Auto-Submitted: auto-replied
Message-ID: <66123456.050a0220.abcd.1234.GMR@mx.google.com>
Date: Tue, 07 Apr 2026 03:00:04 -0700 (PDT)
From: Mail Delivery Subsystem <mailer-daemon@googlemail.com>
Subject: Delivery Status Notification (Failure)
X-Failed-Recipients: ann@mail.example
In-Reply-To: <0123456789abcdef0123456789abcdef@carillon.example>

--0000000000001234
Content-Type: multipart/related; boundary="0000000000001235"

--0000000000001235
Content-Type: multipart/alternative; boundary="0000000000001236"

--0000000000001236
Content-Type: text/plain; charset="UTF-8"

** Address not found **

Your message wasn't delivered to ann@mail.example because the address couldn't be found.

--0000000000001236
Content-Type: text/html; charset="UTF-8"

<html><body>Address not found</body></html>

--0000000000001236--

--0000000000001235
Content-Type: image/png; name="icon.png"
Content-Disposition: attachment; filename="icon.png"
Content-Transfer-Encoding: base64
Content-ID: <icon.png>

iVBORw0KGgo=

--0000000000001235--

--0000000000001234
Content-Type: message/delivery-status

Reporting-MTA: dns; googlemail.com
Arrival-Date: Tue, 07 Apr 2026 03:00:02 -0700 (PDT)
X-Original-Message-ID: <0123456789abcdef0123456789abcdef@carillon.example>

Final-Recipient: rfc822; ann@mail.example
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.mail.example. (192.0.2.7, the server for the domain mail.example.)
Diagnostic-Code: smtp; 550-5.1.1 The email account that you tried to reach does not exist. Please try
 550-5.1.1 double-checking the recipient's email address for typos or
 550 5.1.1 unnecessary spaces.
Last-Attempt-Date: Tue, 07 Apr 2026 03:00:04 -0700 (PDT)

--0000000000001234
Content-Type: message/rfc822

{RETURNED}
Hello Ann, it is ready.

--0000000000001234--
"""

OUT_OF_OFFICE = """\
From: Ann Smith <ann@mail.example>
To: shop@acme.example
Subject: Automatic reply: Your order is ready
Auto-Submitted: auto-replied
Date: Tue, 7 Apr 2026 10:00:05 +0000

I am away until Monday. 550 5.1.1 is my favourite number.
"""

READ_RECEIPT = """\
From: Ann Smith <ann@mail.example>
To: shop@acme.example
Subject: Read: Your order is ready
Content-Type: multipart/report; report-type=disposition-notification; boundary="r"

--r
Content-Type: text/plain

Your message was read.
--r
Content-Type: message/disposition-notification

Final-Recipient: rfc822;ann@mail.example
Disposition: manual-action/MDN-sent-manually; displayed
--r--
"""


def as_bytes(sample: str, link: str = LINK) -> bytes:
    """As it came over the wire, with ``link`` in what was returned."""
    return sample.replace(LINK, link).replace("\n", "\r\n").encode()
