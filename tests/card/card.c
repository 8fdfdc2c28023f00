/*
 * mainstay_card: a capture card in user space, for machines without sound hardware.
 *
 * An alsa-lib I/O plugin (ioplug) with a converter clock of its own: frame n is converted at the moment
 *
 *     epoch + n / (rate * (1 + ppm / 1e6))         on CLOCK_MONOTONIC, in whole frames, without rounding drift
 *
 * Every process that opens the card therefore hears the same line-in at the same time, a frame's number tells when it
 * was converted, and a card that was away comes back on the same grid: nothing has to be assumed to count what is missing.
 *
 * What is heard is a raw s16le stereo file (frame n modulo its length) or, without a file, a counter that spells n in
 * the samples (see `spell`). The card overruns as hardware does (EPIPE once the reader is a whole buffer late), and it
 * can be unplugged, stalled and overrun on command: see README.md beside this file.
 *
 * Build:   cc -O2 -Wall -shared -fPIC -DPIC -o libasound_module_pcm_mainstay_card.so card.c -lasound
 * Licence: MIT OR Apache-2.0
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <alsa/asoundlib.h>
#include <alsa/pcm_external.h>

enum { TIMER, WATCH, DESCRIPTORS };

struct card {
	snd_pcm_ioplug_t io;

	/* Settings, fixed from open on. */
	int64_t epoch_ns;          /* when frame 0 was converted */
	long ppm;                  /* how much faster than its nominal rate the card runs */
	char *control;             /* this path exists <=> the card is unplugged; NULL: never */
	char *fault;               /* orders arrive in this file; NULL: never */
	const int16_t *programme;  /* the raw file, or NULL for the counter */
	size_t programme_bytes;
	int64_t programme_frames;
	size_t let_go_until;

	/* The run: frames first .. first+taken-1 of the grid went to the reader. */
	int running;
	int64_t first;
	int64_t taken;
	snd_pcm_uframes_t avail_min;

	/* Trouble. */
	int gone;                  /* unplugged: this handle stays dead, as a kernel PCM does */
	int overrun;               /* reported as EPIPE until the next prepare */
	int overrun_pending;       /* becomes an overrun once the stall is over */
	int64_t stalled_until_ns;  /* no wake-ups before */

	int descriptor[DESCRIPTORS];
};

/* ---- the converter clock ------------------------------------------------------------------------------------- */

static int64_t monotonic_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Frames in 1e15 ns: rate * (1e6 + ppm) keeps ppm exact in integers; 128 bits hold the product for ever. */
static __int128 frames_per_1e15_ns(const struct card *card)
{
	return (__int128)card->io.rate * (1000000 + card->ppm);
}

#define NS_SCALE ((__int128)1000000000 * 1000000)
/* A whole number of pages. */
#define LET_GO ((size_t)256 * 1024)

/* How many frames of the grid were converted until `ns`. */
static int64_t frames_until(const struct card *card, int64_t ns)
{
	return (int64_t)((__int128)(ns - card->epoch_ns) * frames_per_1e15_ns(card) / NS_SCALE);
}

/* The first nanosecond at which `frames` frames of the grid are converted. */
static int64_t ns_of(const struct card *card, int64_t frames)
{
	__int128 per = frames_per_1e15_ns(card);
	return card->epoch_ns + (int64_t)(((__int128)frames * NS_SCALE + per - 1) / per);
}

/* Converted since the start and not read yet. */
static int64_t waiting(const struct card *card)
{
	return frames_until(card, monotonic_ns()) - card->first - card->taken;
}

/* Next wake-up: when avail_min frames wait. Setting the timer also takes back an earlier expiry, so poll stays
 * level-triggered without anybody reading the descriptor: one system call per period. */
static void arm(struct card *card)
{
	int64_t at = ns_of(card, card->first + card->taken + (int64_t)card->avail_min);
	if (at < card->stalled_until_ns)
		at = card->stalled_until_ns;
	struct itimerspec when = { .it_value = { .tv_sec = at / 1000000000, .tv_nsec = at % 1000000000 } };
	timerfd_settime(card->descriptor[TIMER], TFD_TIMER_ABSTIME, &when, NULL);
}

/* ---- what the converter hears -------------------------------------------------------------------------------- */

/*
 * The two channels of frame n, left-justified in 32 bits. The counter spells n so that a reader needs no other frame:
 *   stereo          left = bits 0..15 of n, right = bits 16..31, each as the sample's top 16 bits
 *   mono, 24 or 32  bits 0..23 of n as the top 24 bits
 *   mono, 16        bits 0..15 of n
 */
static void spell(const struct card *card, int64_t n, uint32_t sample[2])
{
	if (card->programme) {
		const int16_t *frame = card->programme + 2 * (n % card->programme_frames);
		sample[0] = (uint32_t)(uint16_t)frame[0] << 16;
		sample[1] = (uint32_t)(uint16_t)frame[1] << 16;
	} else if (card->io.channels == 1 && card->io.format != SND_PCM_FORMAT_S16_LE) {
		sample[0] = (uint32_t)n << 8;
	} else {
		sample[0] = (uint32_t)n << 16;
		sample[1] = (uint32_t)n & 0xffff0000u;
	}
}

static char *put(char *out, snd_pcm_format_t format, uint32_t sample)
{
	switch (format) {
	case SND_PCM_FORMAT_S32_LE:
		break;
	case SND_PCM_FORMAT_S24_LE: /* low three bytes; the fourth carries the sign, as most drivers leave it */
		sample = (uint32_t)((int32_t)sample >> 8);
		break;
	case SND_PCM_FORMAT_S24_3LE:
		*out++ = (char)(sample >> 8);
		*out++ = (char)(sample >> 16);
		*out++ = (char)(sample >> 24);
		return out;
	default: /* S16_LE, the only other one on offer */
		*out++ = (char)(sample >> 16);
		*out++ = (char)(sample >> 24);
		return out;
	}
	for (int byte = 0; byte < 4; byte++)
		*out++ = (char)(sample >> 8 * byte);
	return out;
}

/* ---- unplug, stall, overrun on command ----------------------------------------------------------------------- */

static void obey_fault(struct card *card)
{
	char word[16] = "", text[64] = "";
	long ms = 0;
	int fd = open(card->fault, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	ssize_t length = read(fd, text, sizeof text - 1);
	close(fd);
	/* An empty file is one that is still being written: its close is announced separately. */
	if (length <= 0 || sscanf(text, "%15s %ld", word, &ms) < 1)
		return;
	unlink(card->fault);
	card->stalled_until_ns = monotonic_ns() + ms * 1000000;
	card->overrun_pending = strcmp(word, "overrun") == 0;
	if (card->running)
		arm(card);
}

/* Looks at the command files; called when something changed in their folders. */
static void obey(struct card *card)
{
	char events[4096];
	while (read(card->descriptor[WATCH], events, sizeof events) > 0)
		;
	if (card->control && access(card->control, F_OK) == 0) {
		card->gone = 1;
		snd_pcm_ioplug_set_state(&card->io, SND_PCM_STATE_DISCONNECTED);
	}
	if (card->fault)
		obey_fault(card);
}

static int watch_folder_of(struct card *card, const char *path)
{
	char *copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	int wd = inotify_add_watch(card->descriptor[WATCH], dirname(copy), IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO);
	int error = wd < 0 ? -errno : 0;
	free(copy);
	return error;
}

/* ---- the plugin's callbacks ---------------------------------------------------------------------------------- */

static int card_start(snd_pcm_ioplug_t *io)
{
	struct card *card = io->private_data;
	if (card->gone)
		return -ENODEV;
	card->first = frames_until(card, monotonic_ns());
	card->taken = 0;
	card->running = 1;
	arm(card);
	return 0;
}

static int card_stop(snd_pcm_ioplug_t *io)
{
	struct card *card = io->private_data;
	struct itimerspec never = { 0 };
	timerfd_settime(card->descriptor[TIMER], 0, &never, NULL);
	card->running = 0;
	return 0;
}

static int card_prepare(snd_pcm_ioplug_t *io)
{
	struct card *card = io->private_data;
	if (card->gone)
		return -ENODEV;
	card->running = 0;
	card->taken = 0;
	card->overrun = 0;
	return 0;
}

/* A negative answer means "overrun" to alsa-lib, whatever its value; a lost card is told by the state instead. */
static snd_pcm_sframes_t card_pointer(snd_pcm_ioplug_t *io)
{
	struct card *card = io->private_data;
	if (!card->running)
		return 0;
	if (card->gone) {
		snd_pcm_ioplug_set_state(io, SND_PCM_STATE_DISCONNECTED);
		return card->taken % (int64_t)io->buffer_size;
	}
	int64_t frames = waiting(card);
	if (card->overrun_pending && monotonic_ns() >= card->stalled_until_ns) {
		card->overrun_pending = 0;
		card->overrun = 1;
	}
	if (frames > (int64_t)io->buffer_size)
		card->overrun = 1;
	if (card->overrun)
		return -EPIPE;
	return (card->taken + frames) % (int64_t)io->buffer_size;
}

/* The programme's pages count as memory of whoever captures: those behind are let go, a quarter megabyte at a time. */
static void let_go(struct card *card, int64_t at)
{
	size_t here = (size_t)at * 4;
	size_t from = card->let_go_until;
	if (here < from)
		from = card->let_go_until = 0;
	if (here - from < LET_GO)
		return;
	size_t until = here / LET_GO * LET_GO;
	madvise((char *)card->programme + from, until - from, MADV_DONTNEED);
	card->let_go_until = until;
}

static snd_pcm_sframes_t card_transfer(snd_pcm_ioplug_t *io, const snd_pcm_channel_area_t *areas,
				       snd_pcm_uframes_t offset, snd_pcm_uframes_t size)
{
	struct card *card = io->private_data;
	if (card->gone)
		return -ENODEV;
	/* Interleaved access only, so the first area's address and step describe all of them. */
	char *out = (char *)areas->addr + (areas->first + areas->step * offset) / 8;
	int64_t n = card->first + card->taken;
	if (card->programme && io->channels == 2 && io->format == SND_PCM_FORMAT_S16_LE) {
		/* The usual case costs a copy, as DMA would: benches run on this card. */
		for (snd_pcm_uframes_t done = 0; done < size;) {
			int64_t at = (n + (int64_t)done) % card->programme_frames;
			snd_pcm_uframes_t run = (snd_pcm_uframes_t)(card->programme_frames - at);
			if (run > size - done)
				run = size - done;
			memcpy(out + 4 * done, card->programme + 2 * at, 4 * run);
			done += run;
		}
		let_go(card, (n + (int64_t)size) % card->programme_frames);
	} else {
		for (snd_pcm_uframes_t i = 0; i < size; i++) {
			uint32_t sample[2] = { 0, 0 };
			spell(card, n + (int64_t)i, sample);
			for (unsigned channel = 0; channel < io->channels; channel++)
				out = put(out, io->format, sample[channel]);
		}
	}
	card->taken += (int64_t)size;
	arm(card);
	return (snd_pcm_sframes_t)size;
}

static int card_sw_params(snd_pcm_ioplug_t *io, snd_pcm_sw_params_t *params)
{
	struct card *card = io->private_data;
	snd_pcm_sw_params_get_avail_min(params, &card->avail_min);
	return 0;
}

static int card_hw_params(snd_pcm_ioplug_t *io, snd_pcm_hw_params_t *params)
{
	struct card *card = io->private_data;
	(void)params;
	card->avail_min = io->period_size; /* until sw_params says otherwise */
	return 0;
}

static int card_descriptors_count(snd_pcm_ioplug_t *io)
{
	(void)io;
	return DESCRIPTORS;
}

static int card_descriptors(snd_pcm_ioplug_t *io, struct pollfd *fds, unsigned space)
{
	struct card *card = io->private_data;
	unsigned n = space < DESCRIPTORS ? space : DESCRIPTORS;
	for (unsigned i = 0; i < n; i++)
		fds[i] = (struct pollfd){ .fd = card->descriptor[i], .events = POLLIN };
	return (int)n;
}

static int card_revents(snd_pcm_ioplug_t *io, struct pollfd *fds, unsigned count, unsigned short *revents)
{
	struct card *card = io->private_data;
	for (unsigned i = 0; i < count; i++)
		if (fds[i].fd == card->descriptor[WATCH] && fds[i].revents)
			obey(card);
	*revents = 0;
	if (card->gone) {
		*revents = POLLERR | POLLHUP;
	} else if (!card->running || card->overrun) {
		*revents = POLLERR;
	} else if (card->stalled_until_ns && monotonic_ns() < card->stalled_until_ns) {
		/* silent: the timer is set to the end of the stall */
	} else if (card->overrun_pending) {
		*revents = POLLIN | POLLERR;
	} else if (waiting(card) >= (int64_t)card->avail_min) {
		*revents = POLLIN;
	} else {
		arm(card);
	}
	return 0;
}

static void release(struct card *card)
{
	for (int i = 0; i < DESCRIPTORS; i++)
		if (card->descriptor[i] >= 0)
			close(card->descriptor[i]);
	if (card->programme)
		munmap((void *)card->programme, card->programme_bytes);
	free(card->control);
	free(card->fault);
	free(card);
}

static int card_close(snd_pcm_ioplug_t *io)
{
	release(io->private_data);
	return 0;
}

static const snd_pcm_ioplug_callback_t callbacks = {
	.start = card_start,
	.stop = card_stop,
	.pointer = card_pointer,
	.transfer = card_transfer,
	.close = card_close,
	.hw_params = card_hw_params,
	.sw_params = card_sw_params,
	.prepare = card_prepare,
	.poll_descriptors_count = card_descriptors_count,
	.poll_descriptors = card_descriptors,
	.poll_revents = card_revents,
};

/* ---- opening ------------------------------------------------------------------------------------------------- */

static int map_programme(struct card *card, const char *path)
{
	struct stat about;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &about) < 0 || about.st_size < 4) {
		int error = fd < 0 ? -errno : -EINVAL;
		SNDERR("mainstay_card: %s is not a raw s16le stereo file", path);
		if (fd >= 0)
			close(fd);
		return error;
	}
	card->programme_bytes = (size_t)about.st_size;
	card->programme_frames = about.st_size / 4;
	void *bytes = mmap(NULL, card->programme_bytes, PROT_READ, MAP_SHARED, fd, 0);
	int error = bytes == MAP_FAILED ? -errno : 0;
	close(fd);
	if (!error)
		card->programme = bytes;
	return error;
}

static int read_settings(struct card *card, snd_config_t *conf, long *rate, long *channels, const char **file)
{
	snd_config_iterator_t at, next;
	snd_config_for_each(at, next, conf) {
		snd_config_t *entry = snd_config_iterator_entry(at);
		const char *id, *text = NULL;
		if (snd_config_get_id(entry, &id) < 0 || !strcmp(id, "comment") || !strcmp(id, "type") || !strcmp(id, "hint"))
			continue;
		int error = 0;
		if (!strcmp(id, "file")) {
			error = snd_config_get_string(entry, file);
		} else if (!strcmp(id, "control") || !strcmp(id, "fault")) {
			error = snd_config_get_string(entry, &text);
			if (!error && !(*(id[0] == 'c' ? &card->control : &card->fault) = strdup(text)))
				error = -ENOMEM;
		} else if (!strcmp(id, "epoch")) { /* nanoseconds do not fit every `long`: given as a string */
			error = snd_config_get_string(entry, &text);
			if (!error)
				card->epoch_ns = strtoll(text, NULL, 10);
		} else if (!strcmp(id, "ppm")) {
			error = snd_config_get_integer(entry, &card->ppm);
		} else if (!strcmp(id, "rate")) {
			error = snd_config_get_integer(entry, rate);
		} else if (!strcmp(id, "channels")) {
			error = snd_config_get_integer(entry, channels);
		} else {
			error = -EINVAL;
		}
		if (error < 0) {
			SNDERR("mainstay_card: field %s is unknown or has the wrong type", id);
			return error;
		}
	}
	return 0;
}

/* What the card offers. `rate` and `channels` of the settings narrow it down; 0 leaves the choice to the reader. */
static int offer(snd_pcm_ioplug_t *io, long rate, long channels)
{
	static const unsigned accesses[] = { SND_PCM_ACCESS_RW_INTERLEAVED };
	static const unsigned formats[] = { SND_PCM_FORMAT_S32_LE, SND_PCM_FORMAT_S24_LE, SND_PCM_FORMAT_S24_3LE,
					    SND_PCM_FORMAT_S16_LE };
	unsigned rates[] = { 44100, 48000 }, rate_count = 2;
	if (rate) {
		rates[0] = (unsigned)rate;
		rate_count = 1;
	}
	unsigned least = channels ? (unsigned)channels : 1, most = channels ? (unsigned)channels : 2;
	int error = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_ACCESS, 1, accesses);
	if (error >= 0)
		error = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_FORMAT, 4, formats);
	if (error >= 0)
		error = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_RATE, rate_count, rates);
	if (error >= 0)
		error = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_CHANNELS, least, most);
	if (error >= 0)
		error = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIOD_BYTES, 64, 192000);
	if (error >= 0)
		error = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIODS, 2, 1024);
	if (error >= 0)
		error = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_BUFFER_BYTES, 128, 768000);
	return error;
}

SND_PCM_PLUGIN_DEFINE_FUNC(mainstay_card)
{
	const char *file = NULL;
	long rate = 0, channels = 0;
	(void)root;
	if (stream != SND_PCM_STREAM_CAPTURE)
		return -EINVAL;
	struct card *card = calloc(1, sizeof *card);
	if (!card)
		return -ENOMEM;
	card->descriptor[TIMER] = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	card->descriptor[WATCH] = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	int error = card->descriptor[TIMER] < 0 || card->descriptor[WATCH] < 0 ? -errno : 0;
	if (!error)
		error = read_settings(card, conf, &rate, &channels, &file);
	if (!error && card->control)
		error = watch_folder_of(card, card->control);
	if (!error && card->fault)
		error = watch_folder_of(card, card->fault);
	/* Looked at after the watch stands, so that no change falls in between. */
	if (!error && card->control && access(card->control, F_OK) == 0)
		error = -ENODEV;
	if (!error && file)
		error = map_programme(card, file);
	if (error < 0) {
		release(card);
		return error;
	}
	card->io.version = SND_PCM_IOPLUG_VERSION;
	card->io.name = "Mainstay test card";
	card->io.flags = SND_PCM_IOPLUG_FLAG_MONOTONIC;
	card->io.poll_fd = card->descriptor[TIMER];
	card->io.poll_events = POLLIN;
	card->io.callback = &callbacks;
	card->io.private_data = card;
	error = snd_pcm_ioplug_create(&card->io, name, stream, mode);
	if (error < 0) {
		release(card);
		return error;
	}
	error = offer(&card->io, rate, channels);
	if (error < 0) {
		snd_pcm_ioplug_delete(&card->io); /* closes, and with it releases */
		return error;
	}
	*pcmp = card->io.pcm;
	return 0;
}

SND_PCM_PLUGIN_SYMBOL(mainstay_card);
