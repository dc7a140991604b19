package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// pageOfStatus answers as package statuspage does.
func pageOfStatus(t *testing.T, snapshot string) (server *httptest.Server, forms *[]string) {
	forms = &[]string{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /astra/{$}", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") == "application/json" {
			_, _ = w.Write([]byte(snapshot))
		}
	})
	mux.HandleFunc("GET /astra/method", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("method") == "/a.B/C" {
			_, _ = w.Write([]byte(`<form><input type="hidden" name="token" value="f00d"></form>`))
		}
	})
	mux.HandleFunc("GET /astra/backend", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("backend") == "10.0.0.7:443" && r.URL.Query().Get("target") == "dns:///b" {
			_, _ = w.Write([]byte(`<form><input type="hidden" name="token" value="beef"></form>`))
		}
	})
	mux.HandleFunc("POST /astra/steer", func(_ http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		*forms = append(*forms, r.PostForm.Encode())
	})
	server = httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server, forms
}

func TestTop(t *testing.T) {
	snapshot, err := os.ReadFile("testdata/snapshot.json")
	if err != nil {
		t.Fatal(err)
	}
	server, _ := pageOfStatus(t, string(snapshot))
	out, code := shell(t, "", "top", "-once", server.URL+"/astra/")
	if code != exitFine {
		t.Errorf("exit code %d", code)
	}
	golden(t, "top.txt", out)
	if strings.Contains(out, "\x1b") {
		t.Error("an escape of the page's reached the terminal")
	}
	var b bytes.Buffer
	if code := run(&streams{out: &b, err: &b}, []string{"top", "-once", server.URL + "/nowhere"}); code != exitFindings || !strings.Contains(b.String(), "404") {
		t.Errorf("of no page: %d %s", code, b.String())
	}
}

func TestBreaker(t *testing.T) {
	server, forms := pageOfStatus(t, "{}")
	out, code := shell(t, "", "breaker", "open", "-for", "90s", server.URL+"/astra/", "dns:///b", "a.B/C")
	if code != exitFine {
		t.Errorf("exit code %d: %s", code, out)
	}
	want := "action=force_open&for=1m30s&method=%2Fa.B%2FC&target=dns%3A%2F%2F%2Fb&token=f00d"
	if len(*forms) != 1 || (*forms)[0] != want {
		t.Errorf("the page got %q: want %q", *forms, want)
	}
	t.Chdir("..")
	if out, code := shell(t, "", "breaker", "open", server.URL+"/astra/", "b", "a.B/Other"); code != exitFindings || !strings.Contains(out, "no actions") {
		t.Errorf("of a method without actions: %d %s", code, out)
	}
}

// TestActionsOfATimeThatCannotBe are refused before any page is asked.
func TestActionsOfATimeThatCannotBe(t *testing.T) {
	for _, args := range [][]string{
		{"breaker", "open", "-for", "-1s", "http://nowhere.invalid/", "dns:///b", "a.B/C"},
		{"backend", "drain", "-for", "25h", "http://nowhere.invalid/", "dns:///b", "10.0.0.7:443"},
	} {
		out, code := shell(t, "", args...)
		t.Chdir("..") // shell is in testdata
		if code != exitUsage || !strings.Contains(out, "-for "+args[3]) || !strings.Contains(out, "want 1ms to 24h") {
			t.Errorf("%q: %d %s", args, code, out)
		}
	}
}

func TestBackend(t *testing.T) {
	server, forms := pageOfStatus(t, "{}")
	for action, want := range map[string]string{
		"drain":  "action=drain&backend=10.0.0.7%3A443&for=1m30s&target=dns%3A%2F%2F%2Fb&token=beef",
		"return": "action=return&backend=10.0.0.7%3A443&for=1m30s&target=dns%3A%2F%2F%2Fb&token=beef",
	} {
		*forms = nil
		out, code := shell(t, "", "backend", action, "-for", "90s", server.URL+"/astra/", "dns:///b", "10.0.0.7:443")
		t.Chdir("..") // shell is in testdata
		if code != exitFine || !strings.Contains(out, action+": 10.0.0.7:443 of dns:///b") {
			t.Errorf("exit code %d: %s", code, out)
		}
		if len(*forms) != 1 || (*forms)[0] != want {
			t.Errorf("the page got %q: want %q", *forms, want)
		}
	}
	if out, code := shell(t, "", "backend", "drain", server.URL+"/astra/", "dns:///b", "10.0.0.8:443"); code != exitFindings || !strings.Contains(out, "offers no actions for this backend") {
		t.Errorf("of a backend without actions: %d %s", code, out)
	}
	t.Chdir("..")
	if out, code := shell(t, "", "backend", "open", server.URL+"/astra/", "dns:///b", "10.0.0.7:443"); code != exitUsage || !strings.Contains(out, "want drain or return") {
		t.Errorf("of another action: %d %s", code, out)
	}
}
